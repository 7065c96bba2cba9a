// Page navigation and the dialog for the API key.

import * as analyse from "./analyse.js";
import { onKeyNeeded } from "./api.js";
import * as choices from "./choices.js";
import * as history from "./history.js";
import * as live from "./live.js";

const PAGES = ["analyse", "live", "history"];
const TITLE = document.title;

function showPage() {
  const fragment = location.hash.slice(1);
  const page = PAGES.includes(fragment) ? fragment : PAGES[0];
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
    document.querySelector(`#${page} .choices`).append(document.getElementById("options"));
    choices.loadChoices().then(live.showLabels).catch(analyse.showError);
  }
}

let openDialog = null; // promise of the open key dialog, shared by all waiting requests

onKeyNeeded((reason) => {
  openDialog ??= askForKey(reason).finally(() => { openDialog = null; });
  return openDialog;
});

async function askForKey(reason) {
  const dialog = document.getElementById("key-dialog");
  const field = document.getElementById("key");
  document.getElementById("key-reason").textContent = reason;
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  const key = dialog.returnValue === "use" ? field.value.trim() : "";
  field.value = "";
  return key;
}

window.addEventListener("hashchange", showPage);
analyse.start();
live.start();
history.start();
choices.start(() => {
  live.showLabels();
  if (!document.getElementById("analyse").hidden) analyse.analyseAgain();
});
showPage();
