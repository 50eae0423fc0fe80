// The service's API, asked from its own page.

const TOKEN = "cdc-actors.token";
const TIMEOUT_MS = 15_000;
// What an error begins with for clients of milvus-cdc, and a person needs not.
const PREFIX = /^fail to handle the \w+ request, error: /;
const BASE = new URL("../", import.meta.url);

/** Why a request failed: `status` is the HTTP status, 0 if nobody answered. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The token of this tab; it ends with the tab. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** Send a request to `POST /cdc`; return the answer's data. */
export function ask(type, data = {}) {
  const body = JSON.stringify({ request_type: type, request_data: data });
  const headers = { "Content-Type": "application/json" };
  return call("cdc", { method: "POST", headers, body });
}

/** Return the role of the caller, and the name of the token. */
export const caller = () => call("cdc/caller", { headers: {} });

async function call(path, request) {
  if (token.get()) request.headers.Authorization = `Bearer ${token.get()}`;
  let response;
  let text;
  try {
    response = await fetch(new URL(path, BASE), {
      ...request,
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    const words = error.name === "TimeoutError" ? `in ${TIMEOUT_MS / 1000} s` : "";
    throw new ApiError(0, `The service does not answer ${words}`.trim());
  }
  const { data, message } = parsed(text);
  if (response.ok && data !== undefined) return data;
  // A proxy before the service has words of its own.
  const said = typeof message === "string" ? message.replace(PREFIX, "")
    : `What answers is not the service; the status is ${response.status}`;
  throw new ApiError(response.status, said);
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
