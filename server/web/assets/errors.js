// What can go wrong with a request, one class a cause.

/** The server does not answer: it restarts, or this device is offline. */
export class Unreachable extends Error {}

/** The server refused a request, or failed at it. The message is its own. */
export class ApiError extends Error {
  constructor(status, { message, code, field, details, retryAfter } = {}, requestId = "") {
    super(message || `The server answered ${status}`);
    this.status = status;
    this.code = code ?? "";
    this.field = field ?? null;
    this.details = details ?? {};
    this.retryAfterS = retryAfter ?? null;
    this.requestId = requestId;
  }
}

/** 400: a field breaks its rule. */
export class InputInvalid extends ApiError {}

/** 401: the key is wrong, was revoked or has expired. */
export class SignedOut extends ApiError {}

/** 402: the credits do not suffice. */
export class InsufficientCredits extends ApiError {}

/** 403: the model needs a higher tier, or the view an operator. */
export class AccessDenied extends ApiError {}

/** 404: it was deleted, or is another user's. */
export class Gone extends ApiError {}

/** 409: it has ended already, or is in use. */
export class Conflict extends ApiError {}

/** 429: too many requests. */
export class TooMany extends ApiError {}

/** 502, 503 and 504: the service cannot do it at the moment. */
export class Unavailable extends ApiError {}

const CLASSES = {
  400: InputInvalid,
  401: SignedOut,
  402: InsufficientCredits,
  403: AccessDenied,
  404: Gone,
  409: Conflict,
  429: TooMany,
  502: Unavailable,
  503: Unavailable,
  504: Unavailable,
};

/** The error that an answer describes, whatever its body is. */
export async function errorOf(answer) {
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // A proxy answers in its own way.
  }
  const waited = Number(answer.headers.get("retry-after"));
  const described = { retryAfter: waited > 0 ? waited : undefined, message: body?.message, ...body?.error };
  return new (CLASSES[answer.status] ?? ApiError)(answer.status, described, body?.requestId);
}
