// The GraphQL console: GraphiQL, once an access key has been entered.

const KEY = "carillon.access-key";
const EXAMPLE = `# Everything here runs with the access key entered above.
# Ctrl-Enter runs the operation at the cursor.

query Newest {
  messages(limit: 10) {
    items { id recipient message status createdAt deliveredAt }
    nextToken
  }
}

mutation Register {
  registerRecipient(input: { recipient: "ann" }) { connectionUri }
}

mutation Push {
  pushMessage(input: { recipients: ["ann"], message: "hello" }) {
    item { id status }
    error { message code }
  }
}
`;

const byId = (id) => document.getElementById(id);
const root = ReactDOM.createRoot(byId("console"));
let keys = 0;

function say(kind, text) {
  byId("key-result").dataset.kind = kind;
  byId("key-result").textContent = text;
}

function post(key, body) {
  return fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": key },
    body: JSON.stringify(body),
    credentials: "omit",
  });
}

async function use(key) {
  const response = await post(key, { query: "{ __typename }" }).catch(() => null);
  if (!response?.ok) {
    sessionStorage.removeItem(KEY);
    return say("bad", response?.status === 401 ? "This key is not valid." : "The api does not answer.");
  }
  sessionStorage.setItem(KEY, key);
  say("good", "Key accepted.");
  keys += 1;
  // A new React key: the schema is fetched again for the new access key.
  root.render(
    React.createElement(GraphiQL, {
      key: keys,
      fetcher: (request) => post(key, request).then((answer) => answer.json()),
      defaultQuery: EXAMPLE,
      isHeadersEditorEnabled: false,
      shouldPersistHeaders: false,
    }),
  );
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  use(byId("key").value.trim());
});

const kept = sessionStorage.getItem(KEY);
if (kept) {
  byId("key").value = kept;
  use(kept);
}
