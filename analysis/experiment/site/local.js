// A plain script: opened as a file, the page loads no modules and hears no sounds, and says so.
if (location.protocol === "file:") document.querySelector("#page").textContent = document.body.dataset.local;
