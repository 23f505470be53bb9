// The client's own small icon set: 24 px, stroke only, drawn in the current colour. Decorative:
// the control around an icon carries the words.

import type { JSX } from "solid-js";

function icon(draw: () => JSX.Element) {
  return (): JSX.Element => (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      {draw()}
    </svg>
  );
}

export const MicIcon = icon(() => <path d="M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21" />);
export const MicOffIcon = icon(() => <path d="M4 4l16 16M9 9v2a3 3 0 0 0 4.7 2.5M15 10.5V6a3 3 0 0 0-5.8-1M5.5 11a6.5 6.5 0 0 0 10.3 5.3M18 13.5a6.5 6.5 0 0 0 .5-2.5M12 17.5V21" />);
export const CameraIcon = icon(() => <path d="M5 6.5h8.5a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2ZM15.5 10.5 21 7.5v9l-5.5-3" />);
export const CameraOffIcon = icon(() => <path d="M3.5 3.5l17 17M10 6.5h3.5a2 2 0 0 1 2 2V12m0 3.5a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h1.5M16 10.3l5-2.8v9" />);
export const ChatIcon = icon(() => <path d="M6 4.5h12a2.5 2.5 0 0 1 2.5 2.5v7a2.5 2.5 0 0 1-2.5 2.5h-6.5L7 20.5v-4H6A2.5 2.5 0 0 1 3.5 14V7A2.5 2.5 0 0 1 6 4.5ZM8 9h8M8 12.5h5" />);
export const LinkIcon = icon(() => <path d="M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7l1-1" />);
export const LeaveIcon = icon(() => <path d="M3.5 14.5c0-1.400.6-2.400 1.7-3 4-2.3 9.600-2.3 13.600 0 1.1.6 1.7 1.600 1.7 3v.7a1.3 1.3 0 0 1-1.600 1.3l-2.7-.6a1.400 1.400 0 0 1-1.1-1.400v-1.8c-2-.6-4.2-.6-6.2 0v1.8a1.400 1.400 0 0 1-1.1 1.400l-2.7.6a1.3 1.3 0 0 1-1.600-1.3Z" />);
export const PeopleIcon = icon(() => <path d="M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 19.5c.5-3.3 3-5 6.5-5s6 1.7 6.5 5M16 5a3.5 3.5 0 0 1 0 6.3M18 15c1.900.7 3.1 2.2 3.5 4.5" />);
export const CheckIcon = icon(() => <path d="M5 12.5l4.5 4.5L19 7.5" />);
export const CloseIcon = icon(() => <path d="M6 6l12 12M18 6L6 18" />);
export const SendIcon = icon(() => <path d="M4 12l16-7.5-4.5 15L11.5 14 4 12ZM11.5 14L20 4.5" />);
export const ArrowIcon = icon(() => <path d="M5 12h14M13 6l6 6-6 6" />);
export const PlusIcon = icon(() => <path d="M12 5v14M5 12h14" />);
export const SpeakerIcon = icon(() => <path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5H4ZM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11" />);
export const WarningIcon = icon(() => <path d="M12 4.5 21 19.5H3L12 4.5ZM12 10v4.5M12 17.2v.1" />);
export const SettingsIcon = icon(() => <path d="M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z" />);
export const LockIcon = icon(() => <path d="M6.5 10.5h11a1.5 1.5 0 0 1 1.5 1.5v7a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 5 19v-7a1.5 1.5 0 0 1 1.5-1.5ZM8 10.5V8a4 4 0 0 1 8 0v2.5" />);

export const MoreIcon = icon(() => <path d="M5.5 12h.01M12 12h.01M18.500 12h.01" stroke-width="3" />);
export const StatisticsIcon = icon(() => <path d="M4 4v16h16M8.5 16v-4M13 16V7.500M17.500 16v-6" />);
export const ShareIcon = icon(() => <path d="M5 4.500h14a1.500 1.500 0 0 1 1.500 1.500v9a1.500 1.500 0 0 1-1.500 1.500H5A1.500 1.500 0 0 1 3.500 15V6A1.500 1.500 0 0 1 5 4.500ZM8.500 20h7M12 13.500v-6M9.300 10 12 7.300 14.700 10" />);
export const StopShareIcon = icon(() => <path d="M5 4.500h14a1.500 1.500 0 0 1 1.500 1.500v9a1.500 1.500 0 0 1-1.500 1.500H5A1.500 1.500 0 0 1 3.500 15V6A1.500 1.500 0 0 1 5 4.500ZM8.500 20h7M9.800 8.300l4.400 4.400M14.200 8.300l-4.400 4.400" />);
export const PinIcon = icon(() => <path d="M9 4h6l-.7 6 3.2 3.5h-11L9.700 10 9 4ZM12 13.500V20" />);
export const SlowIcon = icon(() => <path d="M4.500 19.500v-3M9.500 19.500v-6.500M14.500 14.500V9M19.500 12V4.500M15 17l5 5M20 17l-5 5" />);

/** The mark: a call that goes out from one stroke, and reads as a k. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path d="M10 7.5v17M23 8.5a9.5 9.5 0 0 1-8 7.5 9.5 9.5 0 0 1 8 7.5" />
    </svg>
  );
}

export function Logo(): JSX.Element {
  return (
    <span class="logo">
      <Mark />
      <span class="logo-word">kall</span>
    </span>
  );
}
