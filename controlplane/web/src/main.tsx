// Entry point: styles and the page.

import { render } from "solid-js/web";
import "./styles/base.css";
import "./styles/pages.css";
import "./styles/meeting.css";
import "./styles/chat.css";
import "./styles/statistics.css";
import { App } from "./ui/App";

const root = document.getElementById("app");
if (root) render(() => <App />, root);
