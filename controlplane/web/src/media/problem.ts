// Why a camera or microphone can't be used, in terms of what the person can do about it.

export type DeviceProblem =
  /** The page is not served from a secure origin: the browser offers no devices at all. */
  | "insecure"
  /** The person or a policy said no. */
  | "denied"
  /** There is no such device. */
  | "not_found"
  /** Another program holds it. */
  | "in_use"
  | "unknown";

export function problemOf(error: unknown): DeviceProblem {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "not_found";
    case "NotReadableError":
    case "AbortError":
      return "in_use";
    default:
      return "unknown";
  }
}
