// A chat in the example plugin "chatroom". All that concerns messages is in balhost.ts.
import { Balhost } from "./balhost.js";

const $ = id => document.getElementById(id);
const join = $("join"), say = $("say");
const lines = new Map(); // of what this page sent, by id

// balhost dev serves settings.json, with its own gateway. Elsewhere a person fills in the form.
const settings = await fetch("settings.json").then(r => r.ok ? r.json() : {}).catch(() => ({}));
for (const [name, value] of [...Object.entries(settings), ...new URLSearchParams(location.hash.slice(1))]) {
  if (join.elements[name]) join.elements[name].value = value;
}

function show(text, { who, kind = "" } = {}) {
  const li = document.createElement("li");
  li.className = kind;
  if (who) li.append(Object.assign(document.createElement("b"), { textContent: who }));
  li.append(text);
  $("lines").append(li);
  li.scrollIntoView();
  return li;
}

function begin({ name, room, url, token }) {
  const from = localStorage.from ??= "web-" + crypto.randomUUID(); // this browser is one device
  const balhost = new Balhost({
    url, from, category: "com.example.chatroom",
    token: async () => token, // a real app asks its own login here
    onMessage({ message_id, data }) {
      if (data.event === "said") show(data.text, { who: data.name });
      else if (data.event === "refused") show(data.why, { kind: "note" });
      else show(`${data.name} ${data.event}`, { kind: "note" });
      if (document.visibilityState === "visible") balhost.receipt(message_id, "DISPLAYED");
    },
    onMessageSent: id => lines.get(id)?.classList.add("stored"),
    onSendError: (id, code, why) => {
      lines.get(id)?.classList.add("failed");
      show(`not sent (${code}): ${why}`, { kind: "note" });
    },
    onState: state => { $("state").textContent = state; },
  });
  const send = async (data, text) => {
    try {
      const id = await balhost.send({ room, ...data });
      if (text) lines.set(id, show(text, { kind: "mine" }));
    } catch (e) {
      show(`not sent (${e.code ?? 0}): ${e.message}`, { kind: "note" });
    }
  };
  $("where").textContent = "· " + room;
  join.hidden = true;
  say.hidden = false;
  say.elements.text.focus();
  say.onsubmit = e => {
    e.preventDefault();
    send({ do: "say", text: say.elements.text.value }, say.elements.text.value);
    say.reset();
  };
  send({ do: "join", name });
  balhost.start();
}

join.onsubmit = e => {
  e.preventDefault();
  begin(Object.fromEntries(new FormData(join)));
};
document.documentElement.dataset.ready = "yes";
