// What several parts of the page know, and who is told when it changes.

import { useEffect, useState } from "./vendor/preact-htm.js";

const KEPT = "avatar-creator.";

let state = {
  session: kept("session"), // {token, keyId}; keyId is null for a pasted key
  signingIn: false,
  notice: null, // why the last session ended
  view: "create",
  forms: 0, // raised to have the view made anew
  connected: true,
  balance: null,
  isOperator: false,
  jobs: [], // newest first; see jobs.js
  projects: null, // null until they were read
  toasts: [],
};
const listeners = new Set();

export const getState = () => state;

/** Change the state by an object, or by a function of the state. */
export function setState(change) {
  state = { ...state, ...(typeof change === "function" ? change(state) : change) };
  for (const listener of listeners) listener();
}

/** The state, for a component that is drawn again whenever it changes. */
export function useApp() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = () => redraw((count) => count + 1);
    listeners.add(listener);
    listener(); // it may have changed before the effect ran
    return () => listeners.delete(listener);
  }, []);
  return state;
}

/** What this browser has kept under a name; null if nothing, or nothing legible. */
export function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(KEPT + name));
  } catch {
    return null;
  }
}

/** Keep a value in this browser, or forget it if it is null. Without storage the page works until it closes. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(KEPT + name);
    else localStorage.setItem(KEPT + name, JSON.stringify(value));
  } catch {
    // The storage is full or forbidden.
  }
}

/** Begin a session. keyId: of the key that signing out revokes; null leaves the key valid. */
export function beginSession(token, keyId) {
  const session = { token, keyId };
  keep("session", session);
  setState({ session, notice: null, balance: null, isOperator: false, jobs: [], projects: null });
}

/** End the session in this browser, and say why if it was not the user's wish. */
export function endSession(notice = null) {
  keep("session", null);
  setState({ session: null, notice, balance: null, isOperator: false, jobs: [], projects: null });
}

/** Show a sentence for some seconds, which screen readers read out. */
export function toast(text) {
  const id = Math.random();
  setState(({ toasts }) => ({ toasts: [...toasts, { id, text }] }));
  setTimeout(() => setState(({ toasts }) => ({ toasts: toasts.filter((one) => one.id !== id) })), 6000);
}
