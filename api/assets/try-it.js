// The try-it page: registers a recipient, opens its socket, pushes to it, and
// watches what becomes of each message.

const KEY = "carillon.access-key";
const POLL_FAST = 400;
const POLL_SLOW = 2000;
const FIELDS = "id message topic status expiresAt createdAt deliveredAt cancelledAt";

const byId = (id) => document.getElementById(id);

let key = sessionStorage.getItem(KEY) ?? "";
let socket = null;

// ---- GraphQL -------------------------------------------------------------

class Refused extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

async function ask(query, variables = {}) {
  let response;
  try {
    response = await fetch("/graphql", {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": key },
      body: JSON.stringify({ query, variables }),
      credentials: "omit",
    });
  } catch {
    throw new Refused("The api does not answer. Is it still running?", "UNREACHABLE");
  }
  const answer = await response.json().catch(() => ({}));
  const error = answer.errors?.[0];
  if (error) throw new Refused(error.message, error.extensions?.code);
  if (!answer.data) throw new Refused(`The api answered with status ${response.status}.`, "UNREACHABLE");
  return answer.data;
}

const WORDS = {
  UNAUTHENTICATED: () => "This access key is not valid. It may have been mistyped, disabled, or have expired.",
  FORBIDDEN: (said) => `This key may not do that: ${said}.`,
  BAD_USER_INPUT: (said) => `Please check what you entered. ${said}.`,
  LIMITED: (said) => `That is more than this cluster allows. ${said}.`,
  UNAVAILABLE: () => "The cluster cannot reach its message store right now. Try again in a moment.",
  INTERNAL: () => "The cluster has a fault. Its operator finds the reason in the log.",
};

function inWords(error) {
  const words = WORDS[error.code];
  return words ? words(error.message) : error.message;
}

// ---- Small things ----------------------------------------------------------

function show(id, kind, text) {
  const place = byId(id);
  place.dataset.kind = kind;
  place.textContent = text;
}

const clock = (date) =>
  date.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit" });

function orNull(id) {
  return byId(id).value.trim() || null;
}

/** Runs `work` for a form, once at a time, and tells in words how it failed. */
function onSubmit(form, result, work) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId(form).querySelector("button:not([type])");
    button.disabled = true;
    try {
      if (!key && form !== "key-form") {
        byId("key").focus();
        throw new Refused("Enter an access key first.", null);
      }
      await work();
    } catch (error) {
      show(result, "bad", inWords(error));
    } finally {
      button.disabled = false;
    }
  });
}

// ---- 1: the access key -------------------------------------------------------

async function useKey(given) {
  key = given;
  show("key-result", "wait", "Checking…");
  const { version } = await ask("{ version }").catch((error) => {
    // A key without that scope is a key all the same.
    if (error.code === "FORBIDDEN") return { version: null };
    sessionStorage.removeItem(KEY);
    key = "";
    throw error;
  });
  sessionStorage.setItem(KEY, key);
  show("key-result", "good", version ? `Key accepted. The api is version ${version}.` : "Key accepted.");
}

onSubmit("key-form", "key-result", () => useKey(byId("key").value.trim()));

// ---- 2: the recipient and its socket ------------------------------------------

onSubmit("connect-form", "connect-result", async () => {
  const recipient = byId("recipient").value;
  show("connect-result", "wait", "Registering…");
  const { registerRecipient } = await ask(
    "mutation ($input: RegisterRecipientInput!) { registerRecipient(input: $input) { connectionUri } }",
    { input: { recipient, topic: orNull("topic") } },
  );
  const uri = registerRecipient.connectionUri;
  show("connect-result", "good", `Registered ${recipient}. The browser connects to:`);
  byId("uri").textContent = uri.replace(/(token=.{12}).*/, "$1…");
  byId("uri").hidden = false;
  byId("to").value = recipient;
  byId("push-topic").value = byId("topic").value;
  open(uri, document.querySelector("[name=speaks]:checked").value);
});

function open(uri, speaks) {
  socket?.close(1000);
  const mine = speaks === "json" ? new WebSocket(uri, "push.v1.json") : new WebSocket(uri);
  socket = mine;
  let opened = false;
  state("opening", "connecting…");
  mine.addEventListener("open", () => {
    opened = true;
    hear("event", speaks === "json" ? "Connected, speaking push.v1.json." : "Connected.");
    if (mine === socket) state("open", "connected");
  });
  mine.addEventListener("message", ({ data }) => {
    if (speaks === "text") return hear("message", data);
    const frame = JSON.parse(data);
    const acknowledge = byId("acknowledge").checked;
    if (acknowledge) mine.send(JSON.stringify({ ack: [frame.id] }));
    const how = acknowledge ? "acknowledged" : "not acknowledged";
    hear("message", frame.message, `${frame.id} · ${how}`);
  });
  mine.addEventListener("close", ({ code }) => {
    const words = opened
      ? closing(code)
      : "The connection was refused, or the gateway cannot be reached from this browser.";
    hear(code === 1000 ? "event" : "bad", words);
    if (mine === socket) {
      socket = null;
      state("closed", "not connected");
    }
  });
}

function closing(code) {
  switch (code) {
    case 1000: return "Disconnected.";
    case 1006: return "The connection broke. What was not delivered waits for the next one.";
    case 1008: return "The gateway ended the connection: the recipient was revoked (1008).";
    case 1012: return "The gateway is being restarted (1012). Connect again to reach another.";
    case 1013: return "The gateway is overloaded, or this browser reads too slowly (1013).";
    default: return `The gateway ended the connection (${code}).`;
  }
}

function state(name, words) {
  byId("socket").dataset.state = name;
  byId("socket").textContent = words;
  byId("disconnect").disabled = name === "closed";
}

byId("disconnect").addEventListener("click", () => socket?.close(1000));

for (const choice of document.querySelectorAll("[name=speaks]")) {
  choice.addEventListener("change", () => {
    byId("acknowledge").disabled = choice.value !== "json";
  });
}

function hear(kind, text, detail) {
  const item = byId("heard-item").content.firstElementChild.cloneNode(true);
  const now = new Date();
  item.dataset.kind = kind;
  item.querySelector("time").dateTime = now.toISOString();
  item.querySelector("time").textContent = clock(now);
  item.querySelector(".what").textContent = text;
  if (detail) {
    const small = document.createElement("small");
    small.textContent = detail;
    item.querySelector(".what").append(small);
  }
  byId("heard").prepend(item);
}

// ---- 3: pushing, and what becomes of it -----------------------------------------

onSubmit("push-form", "push-result", async () => {
  const seconds = Number(byId("expires").value);
  const expiresAt = seconds ? new Date(Date.now() + seconds * 1000).toISOString() : null;
  show("push-result", "wait", "Pushing…");
  const { pushMessage } = await ask(
    `mutation ($input: MessageInput!) { pushMessage(input: $input) { item { ${FIELDS} } error { message code } } }`,
    {
      input: {
        recipients: [byId("to").value],
        message: byId("message").value,
        topic: orNull("push-topic"),
        expiresAt,
      },
    },
  );
  const [{ item, error }] = pushMessage;
  if (error) throw new Refused(error.message, error.code);
  show("push-result", "good", `Pushed to ${byId("to").value}.`);
  watch(item);
});

function watch(message) {
  const place = byId("pushed-item").content.firstElementChild.cloneNode(true);
  place.querySelector(".text").textContent = message.message;
  place.querySelector(".id").textContent = message.id;
  const cancel = place.querySelector(".cancel");
  cancel.setAttribute("aria-label", `Cancel message ${message.id}`);
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      const { cancelMessage } = await ask(
        `mutation ($id: ID!) { cancelMessage(id: $id) { ${FIELDS} } }`,
        { id: message.id },
      );
      render(place, cancelMessage);
    } catch (error) {
      show("push-result", "bad", inWords(error));
      cancel.disabled = false;
    }
  });
  render(place, message);
  byId("pushed").prepend(place);
  poll(place, message.id, performance.now());
}

/** Asks for the message until its status is final: often at first, then now and then. */
async function poll(place, id, since) {
  let misses = 0;
  while (place.isConnected && place.dataset.status === "PENDING") {
    const young = performance.now() - since < 10_000;
    await new Promise((done) => setTimeout(done, young ? POLL_FAST : POLL_SLOW));
    try {
      const { message } = await ask(`query ($id: ID!) { message(id: $id) { ${FIELDS} } }`, { id });
      misses = 0;
      if (!message) return render(place, { status: "GONE" });
      render(place, message);
    } catch (error) {
      misses += 1;
      place.querySelector(".detail").textContent = inWords(error);
      if (error.code !== "UNAVAILABLE" && error.code !== "UNREACHABLE") return;
      if (misses > 30) return;
    }
  }
}

function render(place, message) {
  const changed = place.dataset.status && place.dataset.status !== message.status;
  place.dataset.status = message.status;
  const badge = place.querySelector(".badge");
  badge.dataset.status = message.status;
  badge.textContent = message.status;
  const detail = describe(message);
  place.querySelector(".detail").textContent = detail;
  place.querySelector(".cancel").hidden = message.status !== "PENDING";
  if (changed) byId("announce").textContent = `Message ${message.status.toLowerCase()}, ${detail}`;
}

function describe({ status, createdAt, deliveredAt, cancelledAt, expiresAt }) {
  const after = (at) => `${((new Date(at) - new Date(createdAt)) / 1000).toFixed(3)} s after it was created`;
  switch (status) {
    case "DELIVERED": return `at ${clock(new Date(deliveredAt))}, ${after(deliveredAt)}`;
    case "CANCELLED": return `at ${clock(new Date(cancelledAt))}, ${after(cancelledAt)}`;
    case "PENDING": return expiresAt ? `waits until ${clock(new Date(expiresAt))}` : "waits for the recipient";
    default: return "the cluster no longer has this message";
  }
}

// ---- At first --------------------------------------------------------------------

byId("recipient").value = `visitor-${Math.random().toString(36).slice(2, 6)}`;
byId("to").value = byId("recipient").value;
if (key) {
  byId("key").value = key;
  useKey(key).catch((error) => show("key-result", "bad", inWords(error)));
}
