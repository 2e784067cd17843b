/** Import it first: teaches the modules what the service tells the page. `pytest tests/static` puts that there. */

import { learn } from "../../static/js/state.js";

export const contract = JSON.parse(process.env.WILDSAT_CONTRACT ?? "{}");
learn(contract);
