// Server-Sent Events through fetch: EventSource cannot send the Authorization header.

import { bearer } from "./api.js";
import { Unreachable, errorOf } from "./errors.js";

const SILENCE_MS = 45_000; // three of the server's heartbeats

/** Yield the events of an answer's body as {id, type, data}; data is decoded JSON. Comments are left out. */
export async function* eventsOf(body, heard = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      buffer = (buffer + value).replace(/\r\n/g, "\n"); // a pair may be cut in two: the next round joins it
      const blocks = buffer.split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // of a connection that broke
  }
}

function parsed(block) {
  const event = { id: null, type: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // a comment, or no field
    const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (field === "id") event.id = value;
    else if (field === "event") event.type = value;
    else if (field === "data") event.data += value;
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}

/**
 * Read a stream until it ends; call `onOpen`, then `onEvent` with each event. lastId: resumes after that event.
 *
 * Throws Unreachable if it breaks or falls silent, or the ApiError with which it was refused.
 */
export async function readStream(path, token, { lastId = null, signal, onOpen, onEvent }) {
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENCE_MS);
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(), SILENCE_MS);
  };
  let answer;
  try {
    answer = await fetch(path, {
      headers: { ...bearer(token), ...(lastId ? { "Last-Event-ID": lastId } : {}) },
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.any([signal, silent.signal]),
    });
    if (answer.ok) {
      onOpen();
      if (answer.body && answer.status !== 204)
        for await (const event of eventsOf(answer.body, heard)) onEvent(event);
      return;
    }
  } catch {
    throw new Unreachable("The stream broke");
  } finally {
    clearTimeout(timer);
  }
  throw await errorOf(answer);
}
