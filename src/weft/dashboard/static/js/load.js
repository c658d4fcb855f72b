// Libraries that a page needs only now and then. A network that comes or goes on this machine breaks
// off what is being loaded, and a browser remembers that an address failed: so the next try has
// another one.

const TRIES_MAX = 5;
const PAUSE_MS = 200;

export async function load(path) {
  for (let tries = 0; ; tries++) {
    try {
      return await import(tries ? `${path}?again=${tries}` : path);
    } catch (error) {
      if (tries >= TRIES_MAX) throw error;
      await new Promise((done) => setTimeout(done, PAUSE_MS * (tries + 1)));
    }
  }
}
