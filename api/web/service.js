// Talks to the service. A token lives in a Session, in memory, and nowhere else. Who signs in at the identity provider
// has none here at all: the browser proves itself by what no script can read.

import { words } from "./words.js";

const EARLY_MS = 30_000; // a token is renewed this long before it ends
const OWN = { credentials: "same-origin", headers: { "X-Kustos-Page": "1" } }; // no page of another site can send that

export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const response = await fetch(path, { credentials: "omit", redirect: "error", ...options }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, words.offline);
  });
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  throw new ServiceError(response.status, inWords(told?.error) ?? response.statusText);
}

// An error of the service in the reader's language, or in the service's own words.
function inWords(error) {
  return words.errors[error?.code] ?? error?.message;
}

function json(body, headers = {}) {
  return { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}

// The sample accounts, or null where there is no demo.
export async function sampleAccounts() {
  try {
    return (await (await call("/demo/accounts")).json()).accounts;
  } catch (error) {
    if (error.status === 404 || error.status === 403) return null;
    throw error;
  }
}

// Whether people sign in at the identity provider, and who has, in this browser.
export async function signedIn() {
  return (await call("/session", OWN)).json();
}

// Signs out here and at the identity provider; false where that one could not be told.
export async function signOut() {
  return (await (await call("/session/logout", { ...OWN, method: "POST" })).json()).everywhere;
}

export class Session {
  onEnded = () => {};
  subject = "";
  #token = "";
  #account;
  #endsAt = Infinity;

  static async asAccount(account) {
    const session = new Session();
    session.#account = account;
    session.name = account.display_name;
    await session.#renew();
    return session;
  }

  static async withToken(token) {
    const session = new Session();
    session.#token = token;
    session.name = "";
    await (await session.#call("/v1/models")).json();
    return session;
  }

  static ofBrowser(person) {
    const session = new Session();
    session.name = person.name;
    session.subject = person.subject;
    return session;
  }

  async #renew() {
    const given = await (await call("/demo/token", json({ account: this.#account.name }))).json();
    this.#token = given.token;
    this.#endsAt = Date.now() + given.expires_in * 1000 - EARLY_MS;
  }

  async #call(path, options = {}) {
    if (this.#account && Date.now() > this.#endsAt) await this.#renew();
    const proof = this.subject ? OWN : { headers: { Authorization: `Bearer ${this.#token}` } };
    try {
      return await call(path, { ...proof, ...options, headers: { ...proof.headers, ...options.headers } });
    } catch (error) {
      if (error.status !== 401) throw error;
      this.onEnded();
      throw new ServiceError(401, words.expired);
    }
  }

  // A passage of a document with its neighbours.
  async passage(document, number, before, after) {
    const path = `/v1/documents/${encodeURIComponent(document)}/passages/${number}?before=${before}&after=${after}`;
    return (await this.#call(path)).json();
  }

  // The picture of a page with a passage marked on it, or null where there is none to look at.
  async page(document, page, passage, width) {
    const path = `/v1/documents/${encodeURIComponent(document)}/pages/${page}?passage=${passage}&width=${width}`;
    try {
      return await (await this.#call(path)).blob();
    } catch (error) {
      if (error.status === 404 || error.status === 503) return null;
      throw error;
    }
  }

  // The answer as it arises: {text} for each piece, {citations, model} at its end.
  async *ask(messages, signal) {
    const body = { model: "text-general", stream: true, messages };
    const response = await this.#call("/v1/chat/completions", { ...json(body), signal });
    for await (const event of events(response.body)) {
      if (event.error) throw new ServiceError(0, inWords(event.error));
      const text = event.choices[0].delta.content;
      if (text) yield { text };
      if (event.kustos) yield { citations: event.kustos.citations, model: event.model };
    }
  }
}

// The JSON of each server-sent event, whatever pieces the network cuts them into.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (held + value).split("\n\n");
    held = frames.pop();
    for (const frame of frames) {
      const data = frame.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}
