/**
 * The dialog with who the reader is.
 *
 * @module
 */

import { $, element } from "./view.js";

/**
 * Make the dialog work.
 *
 * @param {import("./memory.js").Memory} memory
 * @param {(sameClient: boolean) => void} onSave
 */
export function offerSettings(memory, onSave) {
  const dialog = /** @type {HTMLDialogElement} */ ($("settings"));
  const [clientId, timeZone, token] = ["client-id", "time-zone", "token"].map((id) => /** @type {HTMLInputElement} */ ($(id)));
  $("open-settings").addEventListener("click", () => {
    clientId.value = memory.clientId;
    timeZone.value = memory.timeZone;
    token.value = memory.token;
    const zones = Intl.supportedValuesOf("timeZone");
    $("zones").replaceChildren(...zones.map((zone) => element("option", { value: zone })));
    dialog.showModal();
  });
  $("settings-cancel").addEventListener("click", () => dialog.close());
  $("settings-form").addEventListener("submit", () => {
    const sameClient = clientId.value === memory.clientId;
    if (!sameClient) memory.clientId = clientId.value;
    if (timeZone.value !== memory.timeZone) memory.timeZone = timeZone.value;
    memory.token = token.value;
    onSave(sameClient);
  });
}
