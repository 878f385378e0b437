// Requests to the API of this server, in the name of whoever is signed in.

import { SignedOut, Unreachable, errorOf } from "./errors.js";
import { endSession, getState, setState } from "./store.js";
import { inWords } from "./words.js";

export const APP = "/api/avatar-creator";
const PATIENCE_MS = 30_000;

/** The headers of a request in the name of a token. */
export const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

/**
 * Send a request and return the decoded answer, or as a Blob if it is raw; null if there is none.
 *
 * token: whose request it is; by default the session's, which ends if the server refuses it.
 * Throws Unreachable, or the ApiError that the answer describes.
 */
export async function call(method, path, { body, headers = {}, token, raw = false } = {}) {
  const ownToken = token === undefined ? getState().session?.token : token;
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: { ...bearer(ownToken), ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
      body: body ? JSON.stringify(body) : undefined,
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    setState({ connected: true });
    if (answer.status === 204) return null;
    if (answer.ok) return await (raw ? answer.blob() : answer.json());
  } catch {
    setState({ connected: false });
    throw new Unreachable("The server does not answer");
  }
  const error = await errorOf(answer);
  if (error instanceof SignedOut && token === undefined) dropSession(error, ownToken);
  throw error;
}

/** End the session whose token was refused, unless another one has begun meanwhile. */
export function dropSession(error, token) {
  if (getState().session?.token === token) endSession(inWords(error));
}

/** Ask a route of the product. */
export const ask = (method, path, options) => call(method, APP + path, options);

/** Read what the user can spend. */
export async function readBalance() {
  const { data } = await call("GET", "/api/credits/balance");
  setState({ balance: data.balance });
}

/** Read whether the user operates the service. */
export async function readMe() {
  const { isOperator } = await call("GET", "/api/me");
  setState({ isOperator });
}

/** Read the user's projects; make a first one for somebody who has none. */
export async function readProjects() {
  let { projects } = await ask("GET", "/projects?limit=100");
  if (projects.length === 0) {
    const made = await ask("POST", "/projects", { body: { name: "My avatars" } });
    projects = [made.project];
  }
  setState({ projects });
  return projects;
}

/** A text that no other request has, for Idempotency-Key. */
export function uniqueKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID exists on https only
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
