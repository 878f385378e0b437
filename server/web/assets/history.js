// How an avatar came to be: its generation, and what happened to it.

import { APP, ask } from "./api.js";
import { readStream } from "./stream.js";
import { getState } from "./store.js";

const PAGE = 100;
const MOST_PAGES = 50;

/** The generation that made an avatar; null if it was uploaded, or the generation was deleted. */
export async function generationOf(avatar) {
  if (avatar.sourceType === "uploaded") return null;
  let cursor = "";
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query = `projectId=${avatar.projectId}&status=completed&limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
    const { generations, meta } = await ask("GET", `/generations?${query}`);
    const found = generations.find(({ avatarId }) => avatarId === avatar.id);
    if (found || !meta.nextCursor) return found ?? null;
    cursor = meta.nextCursor;
  }
  return null;
}

/** What happened to a generation that has ended: its credits, and the seconds that it waited and was drawn. */
export async function pastOf(generationId) {
  const at = {};
  let credits = null;
  await readStream(`${APP}/generations/${generationId}/events`, getState().session.token, {
    signal: AbortSignal.timeout(10_000),
    onOpen: () => {},
    onEvent: ({ type, data }) => {
      at[type] = new Date(data.at); // of the last of its kind: an attempt whose worker was lost does not count
      if (type === "queued" && !at.submitted) at.submitted = at.queued;
      if (type === "completed") credits = data.credits;
    },
  });
  const seconds = (from, to) => (at[from] && at[to] ? (at[to] - at[from]) / 1000 : null);
  return { credits, waitedS: seconds("submitted", "started"), drawnS: seconds("started", "completed") };
}
