// What the page looks at, pushed by the server over one WebSocket. Whoever looks at the same path
// shares one subscription; a look that nobody needs any more is closed a little later.
import { useEffect, useState } from "/vendor/preact.js";
import { get, key } from "/js/api.js";

const CLOSE_DELAY_MS = 3000;
const RETRY_MS = [200, 500, 1000, 2000, 5000];
const SESSION_ENDED = 4401;
const TEXT_KEPT_CHARS = 2_000_000;

class Look {
  constructor(number, path, form) {
    Object.assign(this, { number, path, form, users: new Set(), objects: new Map() });
    this.state = { ready: false, error: null, items: [], page: null, text: "", at: 0 };
    this.waiting = false;
  }

  take(message) {
    const before = this.state;
    if (message.error) this.state = { ...before, ready: true, error: message.error };
    if (message.list) {
      this.objects = new Map(message.list.items.map((each) => [each.metadata.uid, each]));
      const about = { apiVersion: message.list.apiVersion, kind: message.list.kind };
      this.state = { ...before, ready: true, error: null, about };
      this.changed = true;
    }
    for (const event of message.events ?? []) {
      const uid = event.object.metadata?.uid;
      if (event.type === "DELETED") this.objects.delete(uid);
      else if (event.type !== "BOOKMARK") this.objects.set(uid, event.object);
      this.changed = true;
    }
    if (message.page) this.state = { ...before, ready: true, error: null, page: message.page };
    if (message.text !== undefined) {
      const text = (before.text + message.text).slice(-TEXT_KEPT_CHARS);
      this.state = { ...before, ready: true, error: null, text };
    }
    if (message.end) this.state = { ...before, ready: true, ended: true };
    this.tell(message);
  }

  tell(message) {
    for (const user of this.users) user.each?.(message);
    if (this.waiting) return;
    this.waiting = true;
    // A hidden page paints nothing; it must not fall behind either.
    const soon = document.hidden ? (work) => setTimeout(work, 100) : requestAnimationFrame;
    soon(() => {
      this.waiting = false;
      if (this.changed) this.state = { ...this.state, items: [...this.objects.values()] };
      this.changed = false;
      for (const user of this.users) user.show?.(this.state);
    });
  }
}

class Live {
  constructor() {
    Object.assign(this, { looks: new Map(), byNumber: new Map(), next: 1, tries: 0, socket: null });
    this.listeners = new Set();
    this.connected = false;
  }

  start() {
    if (this.socket || !key()) return;
    const protocols = ["weft.live", `weft.key.${key()}`];
    const socket = new WebSocket(`ws://${location.host}/live`, protocols);
    this.socket = socket;
    socket.onopen = () => {
      this.tries = 0;
      this.say(true);
      for (const look of this.byNumber.values()) this.send(look);
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.byNumber.get(message.id)?.take(message);
    };
    socket.onclose = ({ code }) => {
      this.socket = null;
      this.say(false);
      // Asking tells whether the session still holds; if not, the login is shown.
      if (code === SESSION_ENDED || this.tries > 0) get("/session").catch(() => {});
      if (key()) setTimeout(() => this.start(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    };
  }

  stop() {
    const socket = this.socket;
    this.looks.clear();
    this.byNumber.clear();
    this.socket = null;
    if (socket) {
      socket.onclose = null;
      socket.close();
    }
  }

  say(connected) {
    this.connected = connected;
    for (const listener of this.listeners) listener(connected);
  }

  send(look) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (look.form === "text") look.state = { ...look.state, text: "" };
    this.socket.send(JSON.stringify({ open: look.number, path: look.path, as: look.form }));
  }

  /** Look at a path; gives what ends it. `user` has `show(state)` and may have `each(message)`. */
  look(path, form, user) {
    const id = `${form} ${path}`;
    let look = this.looks.get(id);
    if (!look) {
      look = new Look(this.next++, path, form);
      this.looks.set(id, look);
      this.byNumber.set(look.number, look);
      this.start();
      this.send(look);
    }
    look.users.add(user);
    if (look.state.ready) user.show?.(look.state);
    return () => {
      look.users.delete(user);
      setTimeout(() => this.forget(id, look), CLOSE_DELAY_MS);
    };
  }

  forget(id, look) {
    if (look.users.size || this.looks.get(id) !== look) return;
    this.looks.delete(id);
    this.byNumber.delete(look.number);
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ close: look.number }));
    }
  }
}

export const live = new Live();
const NOTHING = { ready: false, error: null, items: [], page: null, text: "" };

function useLook(path, form) {
  const [found, setFound] = useState({ path: "", state: NOTHING });
  useEffect(() => {
    if (!path) return undefined;
    return live.look(path, form, { show: (state) => setFound({ path, state }) });
  }, [path, form]);
  return found.path === path && path ? found.state : NOTHING;
}

/** Objects of a collection: { ready, error, items }. An empty path looks at nothing. */
export const useObjects = (path) => useLook(path, "objects");
/** A document that is pushed whenever it is another: { ready, error, page }. */
export const usePage = (path) => useLook(path, "page");
/** A text that grows: { ready, error, text, ended }. */
export const useText = (path) => useLook(path, "text");

/** Single requests as they pass, the newest first, at most `most`. */
export function useRequests(path, most) {
  const [state, setState] = useState({ path: "", requests: [], error: null });
  useEffect(() => {
    if (!path) return undefined;
    let kept = [];
    setState({ path, requests: kept, error: null });
    return live.look(path, "requests", {
      each: (message) => {
        const seen = new Set(kept.map((one) => one.number));
        const more = (message.page?.requests ?? []).filter((one) => !seen.has(one.number));
        kept = [...more.reverse(), ...kept].slice(0, most);
        setState({ path, requests: kept, error: message.error ?? null });
      },
    });
  }, [path, most]);
  return state.path === path ? state : { requests: [], error: null };
}

export function useConnected() {
  const [connected, setConnected] = useState(live.connected);
  useEffect(() => {
    live.listeners.add(setConnected);
    setConnected(live.connected);
    return () => live.listeners.delete(setConnected);
  }, []);
  return connected;
}

/** The time in seconds, told again every `seconds`. */
export function useNow(seconds = 1) {
  const [now, setNow] = useState(Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}
