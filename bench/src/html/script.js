const tip = document.createElement("div");
tip.id = "tip";
document.body.append(tip);
for (const band of document.querySelectorAll(".band")) {
  const title = band.querySelector("title");
  const text = title.textContent;
  title.remove();
  band.setAttribute("aria-label", text);
  band.addEventListener("mousemove", (event) => {
    tip.textContent = text;
    tip.style.display = "block";
    const right = window.innerWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(event.clientX + 16, right)) + "px";
    const below = event.clientY + 18;
    const fits = window.innerHeight - tip.offsetHeight - 8;
    tip.style.top = (below > fits ? event.clientY - tip.offsetHeight - 12 : below) + "px";
  });
  band.addEventListener("mouseleave", () => { tip.style.display = "none"; });
}
