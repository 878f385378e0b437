// How the page says things: errors, numbers, times.

import {
  AccessDenied,
  Conflict,
  Gone,
  InputInvalid,
  InsufficientCredits,
  SignedOut,
  TooMany,
  Unavailable,
  Unreachable,
} from "./errors.js";

const PHASES = {
  queued: "Waiting",
  starting: "Starting",
  load: "Loading the model",
  encode: "Reading the prompt",
  step: "Drawing",
  decode: "Finishing the image",
  hosted: "A hosted provider draws",
};

/** The wished qualities by the qualities of entries, from the quickest to the best. Source: catalog/selection.py. */
export const QUALITIES = { fast: "Fast", standard: "Balanced", high: "Quality", ultra: "Ultra" };

export const phaseInWords = (phase) => PHASES[phase] ?? "Working";
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** A duration as people estimate it: seconds below two minutes, then minutes. */
export function duration(seconds) {
  if (seconds < 1) return "1 s";
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const moment = (text) => MOMENT.format(new Date(text));

/** How long ago something was, at a moment by the clock of the server if it is given. */
export function ago(text, at) {
  const seconds = ((at ? new Date(at) : new Date()) - new Date(text)) / 1000;
  if (seconds < 3) return "just now";
  return seconds < 7200 ? `${duration(seconds)} ago` : moment(text);
}

export const mebibytes = (count) => (count < 1024 ? `${count} MiB` : `${(count / 1024).toFixed(1)} GiB`);

/** Try something; return what went wrong in words, or null. */
export async function tried(act) {
  try {
    await act();
    return null;
  } catch (error) {
    return inWords(error);
  }
}

const again = (error) => (error.retryAfterS ? ` Try again in ${error.retryAfterS} s.` : " Try again in a moment.");

/** What went wrong, and what to do about it, in sentences. */
export function inWords(error) {
  if (error instanceof Unreachable) return "The server does not answer. What you typed is kept.";
  if (error instanceof SignedOut) return signedOut(error);
  if (error instanceof InsufficientCredits)
    return `${error.message}. Nothing was drawn and nothing was spent. Choose a cheaper model, or ask the operator for credits.`;
  if (error instanceof AccessDenied) return `${sentence(error.message)}${error.field ? " Choose another model." : ""}`;
  if (error instanceof Gone) return `${error.message}. It may have been deleted elsewhere.`;
  if (error instanceof TooMany) return sentence(error.message.replace(/\. Please try again.*/, "")) + again(error);
  if (error instanceof Unavailable)
    return `The service cannot take this at the moment. Nothing was spent.${again(error)}`;
  if (error instanceof InputInvalid || error instanceof Conflict) return sentence(error.message);
  const id = error.requestId ? ` (request ${error.requestId})` : "";
  return `Something went wrong on the server${id}. Nothing that was not delivered is charged.`;
}

function signedOut(error) {
  if (error.code === "TOKEN_EXPIRED") return "Your key has expired. Sign in again.";
  if (/link/.test(error.message)) return sentence(error.message);
  return "Your key is not valid, or was revoked. Sign in again.";
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);
