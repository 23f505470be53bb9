// Chooses the page by the address. Two pages need no router.

import { createSignal, Match, onCleanup, Switch, type JSX } from "solid-js";
import { roomOfPath } from "../room/link";
import { ErrorPage } from "./ErrorPage";
import { Landing } from "./Landing";
import { RoomPage } from "./RoomPage";

export function App(): JSX.Element {
  const [path, setPath] = createSignal(location.pathname);
  const follow = (): void => {
    setPath(location.pathname);
  };
  window.addEventListener("popstate", follow);
  onCleanup(() => window.removeEventListener("popstate", follow));

  const navigate = (to: string): void => {
    history.pushState(null, "", to);
    follow();
  };
  const room = (): string | undefined => roomOfPath(path());

  return (
    <Switch fallback={<ErrorPage code="room_not_found" message="" onHome={() => navigate("/")} />}>
      <Match when={path() === "/" || path() === "/join"}>
        <Landing navigate={navigate} />
      </Match>
      <Match when={room()} keyed>
        {(slug) => <RoomPage room={slug} onHome={() => navigate("/")} />}
      </Match>
    </Switch>
  );
}
