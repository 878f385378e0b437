// The generations that this page follows: those that have not ended, and those that ended while it looked.

import { APP, ask, dropSession, readBalance } from "./api.js";
import { Conflict, Gone, SignedOut } from "./errors.js";
import { readStream } from "./stream.js";
import { getState, setState } from "./store.js";

const MOST = 12;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
const POLL_MS = 3000;

const UNFINISHED = new Set(["pending", "processing"]);
export const hasEnded = (job) => !UNFINISHED.has(job.status);

/** A job as a generation of the API describes it. */
function jobOf(generation) {
  const { progress } = generation;
  const options = JSON.parse(generation.options || "{}");
  return {
    id: generation.id,
    status: generation.status,
    prompt: generation.prompt,
    model: options.modelName ?? "",
    avatarId: generation.avatarId,
    imageUrl: generation.imageUrl,
    reason: generation.errorMessage,
    phase: progress?.phase ?? "queued",
    step: progress?.step ?? 0,
    steps: progress?.steps ?? options.numInferenceSteps ?? 0,
    position: progress?.queuePosition ?? null,
    secondsLeft: progress?.estimatedSecondsLeft ?? null,
  };
}

/** What an event changes of a job. Source: docs/api.md, Streams of events. */
const CHANGES = {
  queued: (data) => ({
    status: "pending",
    phase: "queued",
    step: 0,
    position: data.position,
    secondsLeft: data.estimatedSecondsLeft,
    again: data.again,
  }),
  started: () => ({ status: "processing", phase: "starting", step: 0, position: null }),
  step: (data) => ({
    status: "processing",
    phase: data.phase,
    step: data.step,
    steps: data.steps,
    position: null,
    secondsLeft: data.estimatedSecondsLeft,
  }),
  completed: (data) => ({
    status: "completed",
    avatarId: data.avatarId,
    imageUrl: data.imageUrl,
    credits: data.credits,
  }),
  failed: (data) => ({ status: "failed", reason: data.message, givenBack: data.creditsGivenBack, code: data.reason }),
};

/** Put jobs in, or change those that are there; what has ended stays ended. */
function merge(...changes) {
  setState(({ jobs }) => {
    const byId = new Map(jobs.map((job) => [job.id, job]));
    const added = [];
    for (const change of changes) {
      const known = byId.get(change.id);
      if (!known) added.push(change);
      else if (!hasEnded(known) || change.status === known.status) byId.set(change.id, { ...known, ...change });
    }
    return { jobs: [...added, ...byId.values()].slice(0, MOST) };
  });
}

/** Follow a generation that was just accepted. */
export function addJob(generation, credits) {
  merge({ ...jobOf(generation), credits });
}

/** Take a job that has ended off the page; the generation stays. */
export function dismiss(id) {
  setState(({ jobs }) => ({ jobs: jobs.filter((job) => job.id !== id) }));
}

/** Cancel a generation. One that has ended meanwhile is shown as it is. */
export async function cancel(id) {
  merge({ id, cancelling: true });
  try {
    const { creditBalance } = await ask("POST", `/generations/${id}/cancel`);
    setState({ balance: creditBalance });
  } catch (error) {
    if (!(error instanceof Conflict)) throw error;
  } finally {
    merge({ id, cancelling: false });
  }
  await refresh(id);
}

/** Read one job anew. */
export async function refresh(id) {
  try {
    const { generation } = await ask("GET", `/generations/${id}`);
    merge(jobOf(generation));
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    dismiss(id);
  }
}

/** Read what has not ended, and what the page shows as not ended. */
async function refreshAll() {
  const pages = await Promise.all(
    [...UNFINISHED].map((status) => ask("GET", `/generations?status=${status}&limit=${MOST}`)),
  );
  const found = pages.flatMap((page) => page.generations).sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  const known = new Set(getState().jobs.map((job) => job.id));
  for (const generation of found) if (!known.has(generation.id)) merge(jobOf(generation));
  await Promise.all(getState().jobs.filter((job) => !hasEnded(job)).map((job) => refresh(job.id)));
}

function onEvent({ type, data }) {
  const change = CHANGES[type]?.(data);
  const job = getState().jobs.find(({ id }) => id === data.generationId);
  if (!change || !job) return; // of another page of this user
  merge({ id: job.id, ...change });
  if (type === "completed" || type === "failed") readBalance().catch(() => {}); // the next answer has it
}

/** Follow everything until the returned function is called: by the stream, or by asking while it is broken. */
export function followJobs() {
  const stopped = new AbortController();
  const { token } = getState().session;
  let streaming = false;
  let lastId = null;

  async function stream() {
    for (let pause = FIRST_PAUSE_MS; !stopped.signal.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      let refusedForS = 0;
      try {
        await readStream(`${APP}/events`, token, {
          lastId,
          signal: stopped.signal,
          onOpen: () => {
            streaming = true;
            pause = FIRST_PAUSE_MS;
            setState({ connected: true });
            refreshAll().catch(() => {}); // the stream goes on, and asking is tried again
          },
          onEvent: (event) => {
            lastId = event.id ?? lastId;
            onEvent(event);
          },
        });
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (error instanceof SignedOut) return dropSession(error, token);
        if (error.status === undefined) setState({ connected: false });
        refusedForS = error.retryAfterS ?? 0;
      } finally {
        streaming = false;
      }
      await new Promise((done) => setTimeout(done, Math.max(pause, refusedForS * 1000) * (0.75 + Math.random() / 2)));
    }
  }

  const polling = setInterval(() => {
    if (!streaming && getState().jobs.some((job) => !hasEnded(job))) refreshAll().catch(() => {});
  }, POLL_MS);
  stream();
  return () => {
    clearInterval(polling);
    stopped.abort();
  };
}
