// Loads the page. Browsers break off what they load when a network comes or goes on this machine, as
// it does with every pod: then it is loaded again.
const TRIES_MAX = 6;
const tries = Number(sessionStorage.getItem("weft.tries") ?? 0);
import("/js/main.js").then(
  () => sessionStorage.removeItem("weft.tries"),
  (error) => {
    if (tries >= TRIES_MAX) {
      document.getElementById("app").textContent = `The dashboard could not be loaded (${error.message}). Load the page again.`;
      sessionStorage.removeItem("weft.tries");
      return;
    }
    sessionStorage.setItem("weft.tries", String(tries + 1));
    setTimeout(() => location.reload(), 150 * (tries + 1));
  },
);
