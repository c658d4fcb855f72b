// A shell in a container, over the exec subresource as kubectl uses it.
import { html, useEffect, useRef, useState } from "/vendor/preact.js";
import { key } from "/js/api.js";
import { load } from "/js/load.js";

const SHELL = ["sh", "-c", "command -v bash >/dev/null && exec bash || exec sh"];
const STDIN = 0, STDOUT = 1, STDERR = 2, ERROR = 3, RESIZE = 4;

/** xterm.js makes style sheets of its own; with the page's nonce on them the policy permits that. */
function permitStyles() {
  const nonce = document.querySelector('meta[name="weft-nonce"]').content;
  const make = document.createElement.bind(document);
  document.createElement = (name, options) => {
    const made = make(name, options);
    if (String(name).toLowerCase() === "style") made.nonce = nonce;
    return made;
  };
  return () => { delete document.createElement; };
}

async function open(box, path, container, tell) {
  if (!document.querySelector('link[href="/vendor/xterm.css"]')) {
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/vendor/xterm.css" }));
  }
  const { Terminal: Screen, FitAddon } = await load("/vendor/xterm.js");
  const screen = new Screen({ fontSize: 13, fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, monospace', cursorBlink: true, theme: { background: "#10141b" }, screenReaderMode: true });
  const fit = new FitAddon();
  screen.loadAddon(fit);
  const undo = permitStyles();
  screen.open(box);
  undo();
  fit.fit();
  const query = new URLSearchParams([["container", container], ["stdin", "true"], ["stdout", "true"], ["tty", "true"], ...SHELL.map((word) => ["command", word])]);
  const socket = new WebSocket(`ws://${location.host}${path}/exec?${query}`, ["v5.channel.k8s.io", "v4.channel.k8s.io", `weft.key.${key()}`]);
  socket.binaryType = "arraybuffer";
  const encoder = new TextEncoder();
  const send = (channel, text) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    const body = encoder.encode(text);
    const message = new Uint8Array(body.length + 1);
    message[0] = channel;
    message.set(body, 1);
    socket.send(message);
  };
  const resize = () => send(RESIZE, JSON.stringify({ Width: screen.cols, Height: screen.rows }));
  socket.onopen = () => { tell("connected"); resize(); screen.focus(); };
  socket.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data);
    if (bytes[0] === STDOUT || bytes[0] === STDERR) screen.write(bytes.subarray(1));
    else if (bytes[0] === ERROR) {
      const status = JSON.parse(new TextDecoder().decode(bytes.subarray(1)) || "{}");
      if (status.status === "Failure") screen.write(`\r\n${status.message}\r\n`);
    }
  };
  socket.onclose = () => tell("ended");
  screen.onData((text) => send(STDIN, text));
  screen.onResize(resize);
  const watch = new ResizeObserver(() => fit.fit());
  watch.observe(box);
  return () => { watch.disconnect(); socket.onclose = null; socket.close(); screen.dispose(); };
}

export function Terminal({ path, container }) {
  const box = useRef();
  const [state, setState] = useState("connecting");
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let close = null, gone = false;
    setState("connecting");
    open(box.current, path, container, setState).then((end) => { if (gone) end(); else close = end; }, (error) => setState(`failed: ${error.message}`));
    return () => { gone = true; close?.(); };
  }, [path, container, turn]);
  const words = { connecting: "Connecting…", connected: "A shell in the container. Your rights must allow pods/exec.", ended: "The shell ended, or your rights do not allow one (create pods/exec)." };
  return html`<p class="quiet small row apart"><span role="status">${words[state] ?? state}</span>${state === "ended" && html`<button class="button" onClick=${() => setTurn(turn + 1)}>Again</button>`}</p>
    <div key=${turn} class="terminal" ref=${box}></div>`;
}
