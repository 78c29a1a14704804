// Starts the page: who is asking, then the conversation.

import { Conversation } from "./conversation.js";
import { byId, element } from "./dom.js";
import { sampleAccounts, Session, signedIn, signOut } from "./service.js";
import { language, words } from "./words.js";

let conversation = null;
let current = null; // the session of who is asking
let offered = false; // signing in at the identity provider is what the page shows
let draft = ""; // a question that was typed when a token ended
const tabs = new BroadcastChannel("kustos"); // tells the page's other tabs of this browser

function problem(message) {
  return element("p", { className: "problem", role: "alert" }, message);
}

// Who is asking: whoever has signed in at the identity provider, a sample account, or who has a token.
async function start() {
  const notice = words.signInProblems[location.hash.slice(1)];
  if (location.hash) history.replaceState(null, "", location.pathname);
  try {
    const { sign_in: signIn, person } = await signedIn();
    if (person) enterBrowser(person);
    else if (signIn) welcome(notice);
    else await choose();
  } catch (error) {
    byId("main").replaceChildren(problem(error.message));
  }
}

function leave(view) {
  conversation?.end();
  conversation = null;
  current = null;
  offered = false;
  byId("who").hidden = true;
  byId("main").replaceChildren(view);
}

function welcome(notice = "") {
  const link = element("a", { href: "/session/login", className: "primary" }, words.signIn);
  const view = element("section", { className: "choose" }, element("h2", { tabIndex: -1 }, words.welcome), element("p", { className: "hint" }, words.welcomeHint), link);
  if (notice) view.append(problem(notice));
  leave(view);
  offered = true;
  link.focus();
}

async function choose(notice = "") {
  const view = element("section", { className: "choose" }, element("h2", { tabIndex: -1 }, words.who));
  if (notice) view.append(problem(notice));
  leave(view);
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
    session.onEnded = () => suspend(element("button", { type: "button", className: "quiet", onclick: chooseAgain }, words.signInAgain));
    admit(session, words.leave, () => choose());
  } catch (error) {
    view.append(problem(error.message));
  }
}

function chooseAgain() {
  draft = conversation.draft;
  choose();
}

function enterBrowser(person) {
  const session = Session.ofBrowser(person);
  session.onEnded = suspendBrowser;
  admit(session, words.signOut, leaveBrowser);
}

function admit(session, leaving, left) {
  current = session;
  offered = false;
  byId("who-name").textContent = session.name;
  byId("who").hidden = false;
  byId("anew").onclick = () => converse(session);
  byId("leave").textContent = leaving;
  byId("leave").onclick = left;
  converse(session);
}

async function leaveBrowser() {
  tabs.postMessage("signed out");
  try {
    welcome((await signOut()) ? "" : words.signedOutHere);
  } catch (error) {
    welcome(error.message);
  }
}

// The sign-in is made anew in a tab of its own, so that nothing here is lost.
function suspendBrowser() {
  suspend(element("a", { href: "/session/login", target: "_blank", rel: "noopener" }, words.signInAgain));
}

function suspend(remedy) {
  conversation?.suspend(words.expired, " ", remedy);
}

// Back from another tab or window, where somebody may have signed in or out.
async function lookAgain() {
  if (!offered && !current?.subject) return;
  const { person } = await signedIn().catch(() => ({}));
  if (person && person.subject !== current?.subject) enterBrowser(person);
  else if (person) conversation?.resume();
  else if (person === null && current) suspendBrowser();
}

// Nothing of what was said before goes on in a new conversation.
function converse(session) {
  conversation?.end();
  conversation = new Conversation(session, draft);
  draft = "";
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
tabs.addEventListener("message", () => current?.subject && welcome());
addEventListener("focus", lookAgain);
addEventListener("pageshow", (event) => event.persisted && lookAgain());
start();
