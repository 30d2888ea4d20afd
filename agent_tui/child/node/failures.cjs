// Describes failures of a session's components as data, in the form of the Python children.
'use strict';

const MOST_CAUSES = 8;
const MAX_TEXT = 2000;

/** Return an error of the SDK (`llm_error`, `stt_error`, …) with the errors that led to it. */
function describeFailure(error) {
  return {
    component: String(error?.type ?? '').replace(/_error$/, ''),
    label: String(error?.label ?? ''),
    retrying: Boolean(error?.recoverable),
    causes: chain(error?.error ?? error).map(describeCause),
  };
}

/** Return an error and those that led to it, the outermost first. */
function chain(error) {
  const found = [];
  while (error !== null && error !== undefined && !found.includes(error) && found.length < MOST_CAUSES) {
    found.push(error);
    error = error.cause ?? error.errors?.[0]; // an AggregateError has one error per address
  }
  return found;
}

function describeCause(error) {
  const text = error instanceof Error ? error.message : String(error);
  return {
    type: String(error?.name ?? ''),
    text: (text || String(error?.code ?? '')).slice(0, MAX_TEXT),
    host: hostOf(error),
    status: statusOf(error),
  };
}

/** Return the host that an error names, without the rest of its URL. */
function hostOf(error) {
  const host = error?.hostname ?? error?.host ?? error?.address;
  if (typeof host === 'string') return host;
  try {
    return new URL(String(error?.url ?? error?.request?.url)).hostname;
  } catch {
    return '';
  }
}

/** Return the HTTP status that an error names; 0 if it names none. */
function statusOf(error) {
  const isStatus = (each) => Number.isInteger(each) && each >= 400 && each < 600;
  return [error?.statusCode, error?.status, error?.response?.status].find(isStatus) ?? 0;
}

module.exports = { describeFailure };
