// Revoke, pause, resume: the dialogs, and the buttons for those who may.

import { act, ask, duration, el } from "./common.js";

const connection = (conn) => (conn ? `?conn_id=${encodeURIComponent(conn)}` : "");

export const revokeButton = (row, conn, then) =>
  el("button", { type: "button", text: "Revoke…", "aria-label": `Revoke ${row.lock_name} from ${row.owner}`, onclick: () => revoke(row, conn, then) });

export const pauseButton = (name, paused, conn, then) =>
  el("button", { type: "button", text: paused ? "Resume…" : "Pause…", "aria-label": `${paused ? "Resume" : "Pause"} ${name}`, onclick: () => (paused ? resume : pause)(name, conn, then) });

async function revoke(row, conn, then) {
  await ask({
    title: `Revoke ${row.lock_name}?`,
    text: [
      `From ${row.owner}, which has held it for ${duration(row.held_seconds)} (token ${row.token}).`,
      "It is stopped at its next renewal, and its guarded writes are refused at once. What it does without a guard may go on for a moment.",
    ],
    reason: true,
    check: "Also end its open guarded transaction, if there is one (the database session is terminated).",
    label: "Revoke",
    danger: true,
    go: ({ reason, checked }) => act(`api/revoke${connection(conn)}`, { lock: row.lock_name, token: row.token, reason, terminate: checked }),
  });
  then();
}

async function pause(name, conn, then) {
  await ask({
    title: `Pause ${name}?`,
    text: ["Who holds it goes on. Nobody else gets it until somebody resumes it; who waits keeps its place."],
    reason: true,
    label: "Pause",
    go: ({ reason }) => act(`api/pause${connection(conn)}`, { lock: name, reason }),
  });
  then();
}

async function resume(name, conn, then) {
  await ask({
    title: `Resume ${name}?`,
    text: ["It is granted again, to the next in line first."],
    reason: true,
    label: "Resume",
    go: ({ reason }) => act(`api/resume${connection(conn)}`, { lock: name, reason }),
  });
  then();
}
