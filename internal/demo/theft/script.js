(() => {
  "use strict";
  let busy = false;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const main = () => document.querySelector("main");

  // show puts another state of the page in place of this one.
  const show = (html) => {
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    if (!next) return location.reload();
    const focus = document.activeElement && document.activeElement.id;
    const open = [...document.querySelectorAll("details[open]")].map((d) => d.id);
    const before = title();
    main().replaceWith(document.adoptNode(next));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    const again = focus && document.getElementById(focus);
    if (again && !again.disabled) again.focus({ preventScroll: true });
    else if (focus) document.getElementById("now")?.focus({ preventScroll: true });
    if (title() !== before) document.getElementById("say").textContent = title();
    count();
  };
  const title = () => document.getElementById("headline")?.textContent || "";

  const post = async (address) => {
    const answer = await fetch(address, { method: "POST" });
    if (!answer.ok || !answer.url.startsWith(location.origin)) return location.reload();
    show(await answer.text());
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if ("leave" in form.dataset) return;
    event.preventDefault();
    if (busy) return;
    busy = true;
    document.body.setAttribute("aria-busy", "true");
    try {
      const over = () => document.getElementById("result");
      const had = over();
      const steps = (form.dataset.steps || "").split(" ").filter(Boolean);
      if (steps.length > 1) {
        for (const [i, step] of steps.entries()) {
          if (i > 0) await pause(1100);
          if (over()) break;
          await post("/do/" + step);
        }
      } else {
        await post(form.getAttribute("action"));
      }
      if (over() && !had) {
        document.getElementById("now").focus({ preventScroll: true });
        scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      }
    } catch {
      location.reload();
    } finally {
      busy = false;
      document.body.removeAttribute("aria-busy");
    }
  });

  // count brings the seconds that tokens have left up to date.
  const count = () => {
    for (const e of document.querySelectorAll("[data-until]")) {
      const left = Math.max(0, Math.floor(e.dataset.until - Date.now() / 1000));
      e.textContent = left;
      const bar = e.parentElement.querySelector("progress");
      if (bar) bar.value = left;
    }
  };

  // live follows what changes without anybody doing anything here.
  const live = async () => {
    if (busy || document.hidden || !main().dataset.version) return;
    try {
      const answer = await fetch("/live");
      if (busy) return;
      if (!answer.ok) return location.reload();
      const now = await answer.json();
      for (const e of document.querySelectorAll("[data-ticks]")) e.textContent = now.ticks[e.dataset.ticks] ?? "";
      if (now.version !== main().dataset.version) show(await (await fetch("/")).text());
    } catch {
      // The server is away: the page stays as it is until it is back.
    }
  };

  setInterval(count, 250);
  setInterval(live, 1000);
})();
