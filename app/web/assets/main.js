// Shows the page that the address names, and asks for an API key when the service needs one.

import * as analyse from "./analyse.js";
import { onKeyNeeded } from "./api.js";
import * as choices from "./choices.js";
import * as history from "./history.js";
import * as live from "./live.js";

const PAGES = ["analyse", "live", "history"];
const TITLE = document.title;

function turn() {
  const wanted = location.hash.slice(1);
  const page = PAGES.includes(wanted) ? wanted : PAGES[0];
  for (const each of PAGES) {
    document.getElementById(each).hidden = each !== page;
    const link = document.querySelector(`nav a[href="#${each}"]`);
    if (each === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const link = document.querySelector("nav [aria-current]");
  document.title = `${link.textContent} · ${TITLE}`;
  live.stop();
  if (page === "history") {
    history.load();
  } else {
    document.querySelector(`#${page} .choices`).append(document.getElementById("how"));
    choices.fill().then(live.showLabels).catch(analyse.say);
  }
}

let asking = null; // the promise of the open question, which all requests wait for

onKeyNeeded((why) => {
  asking ??= askForKey(why).finally(() => { asking = null; });
  return asking;
});

async function askForKey(why) {
  const dialog = document.getElementById("key-dialog");
  const field = document.getElementById("key");
  document.getElementById("key-why").textContent = why;
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  const key = dialog.returnValue === "use" ? field.value.trim() : "";
  field.value = "";
  return key;
}

window.addEventListener("hashchange", turn);
analyse.start();
live.start();
history.start();
choices.start(() => {
  live.showLabels();
  if (!document.getElementById("analyse").hidden) analyse.again();
});
turn();
