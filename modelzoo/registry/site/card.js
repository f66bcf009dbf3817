"use strict";
(() => {
  function selected(block) {
    const range = document.createRange();
    range.selectNodeContents(block);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  async function copy(block) {
    try {
      await navigator.clipboard.writeText(block.textContent);
      return true;
    } catch {
      selected(block); // where the clipboard is refused, copying a selection may still be allowed
      return document.execCommand("copy");
    }
  }

  for (const button of document.querySelectorAll("button.copy")) {
    const block = document.getElementById(button.dataset.copies);
    const said = document.getElementById("said");
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copy(block);
      if (!done) selected(block);
      button.textContent = done ? "Copied" : "Selected";
      said.textContent = done ? "Copied to the clipboard" : "Selected: copy it with the keyboard";
      setTimeout(() => {
        button.textContent = "Copy";
        said.textContent = "";
      }, 2500);
    });
  }
})();
