// Starts the page: who is asking, then the conversation.

import { Conversation } from "./conversation.js";
import { byId, element } from "./dom.js";
import { sampleAccounts, Session } from "./service.js";
import { language, words } from "./words.js";

let conversation = null;

function problem(message) {
  return element("p", { className: "problem", role: "alert" }, message);
}

async function choose(notice = "") {
  conversation?.end();
  conversation = null;
  byId("who").hidden = true;
  const view = element("section", { className: "choose" }, element("h2", { tabIndex: -1 }, words.who));
  if (notice) view.append(problem(notice));
  byId("main").replaceChildren(view);
  try {
    const accounts = await sampleAccounts();
    byId("demo").hidden = accounts === null;
    view.append(...(accounts === null ? tokenForm(view) : cards(accounts, view)));
  } catch (error) {
    view.append(problem(error.message));
  }
  view.querySelector("h2").focus();
}

function cards(accounts, view) {
  const list = accounts.map((account) =>
    element("li", {}, element("button", { type: "button", className: "card", onclick: () => enter(() => Session.asAccount(account), view) },
      element("span", { className: "initials", ariaHidden: "true" }, initials(account.display_name)), element("span", { className: "name" }, account.display_name), element("span", { className: "about" }, account.about))));
  return [element("p", { className: "hint" }, words.whoHint), element("ul", { className: "cards" }, ...list)];
}

function tokenForm(view) {
  const field = element("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    enter(() => Session.withToken(field.value.trim()), view);
  };
  const button = element("button", { className: "primary" }, words.signIn);
  return [element("p", { className: "hint" }, words.noAccounts), element("form", { className: "token", onsubmit: submit }, element("label", { htmlFor: "token" }, words.token), field, button)];
}

async function enter(signIn, view) {
  view.querySelector(".problem")?.remove();
  try {
    const session = await signIn();
    byId("who-name").textContent = session.name;
    byId("who").hidden = false;
    byId("anew").onclick = () => converse(session);
    converse(session);
  } catch (error) {
    view.append(problem(error.message));
  }
}

// Nothing of what was said before goes on in a new conversation.
function converse(session) {
  conversation?.end();
  conversation = new Conversation(session, () => choose(words.expired));
  byId("main").replaceChildren(conversation.root);
  conversation.focus();
}

function initials(name) {
  const parts = name.split(/\s+/).filter((part) => !part.endsWith("."));
  return [parts[0], parts.at(-1)].map((part) => part[0] ?? "").join("").toUpperCase();
}

document.documentElement.lang = language;
byId("demo").textContent = words.demo;
byId("anew").textContent = words.anew;
byId("leave").textContent = words.leave;
byId("leave").addEventListener("click", () => choose());
choose();
