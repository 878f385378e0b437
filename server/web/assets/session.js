// Who is signed in: a key in this browser, from a link or pasted.

import { ApiError, Unreachable } from "./errors.js";
import { call } from "./api.js";
import { beginSession, endSession, getState, setState } from "./store.js";
import { redraft } from "./wish.js";
import { inWords } from "./words.js";

const CODE = /^#code=([\w-]+)$/;
const AGAIN_MS = 1000;
const TRIES = 10;

/** Exchange the code of the address, if it has one, for a key; return whether it has. */
export function signInByLink() {
  const code = CODE.exec(location.hash)?.[1];
  if (!code) return false;
  history.replaceState(null, "", "#/create"); // before anything else: the code must not stay in the history
  setState({ signingIn: true, view: "create" });
  exchange(code)
    .then(({ token, key }) => beginSession(token, key.id))
    .catch((error) => {
      // Whoever reloads a used link in a browser that is signed in stays so.
      if (!getState().session) setState({ notice: inWords(error) });
    })
    .finally(() => setState({ signingIn: false }));
  return true;
}

async function exchange(code) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call("POST", "/api/sign-in", { body: { code }, token: null });
    } catch (error) {
      if (!(error instanceof Unreachable) || tries === TRIES) throw error;
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
}

/** Begin a session with a pasted key, if the server accepts it. Throws why it does not. */
export async function signInByKey(token) {
  await call("GET", "/api/credits/balance", { token });
  beginSession(token, null);
}

/** End the session, forget what was typed, and revoke the key if a link had issued it for this browser. */
export async function signOut() {
  const { session } = getState();
  endSession();
  redraft({});
  if (!session?.keyId) return;
  try {
    await call("DELETE", `/api/keys/${encodeURIComponent(session.keyId)}`, { token: session.token });
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return; // it was revoked already
    setState({ notice: "You are signed out here, but the key could not be revoked. It expires by itself." });
  }
}
