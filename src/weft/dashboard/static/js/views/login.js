import { html, useState } from "/vendor/preact.js";
import { login } from "/js/api.js";

export function Login({ enter }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      enter(await login({ token }));
    } catch (error) {
      setProblem(error.message);
    }
    setBusy(false);
  };
  return html`<main class="login" id="page"><form onSubmit=${submit}>
    <h1><img src="/icon.svg" alt="" width="34" height="34" /> weft</h1>
    <label for="token">Token</label>
    <input id="token" type="password" autocomplete="off" autofocus required value=${token} onInput=${(event) => setToken(event.target.value)} />
    <button class="button primary" disabled=${busy || !token}>Log in</button>
    ${problem && html`<p class="note bad" role="alert">${problem}</p>`}
    <p class="quiet">Type <kbd>weft dashboard</kbd> in a terminal to come in without typing a token. You see and do here what your token may, no more:
      <kbd>kubectl create token NAME</kbd> makes one for a service account.</p></form></main>`;
}
