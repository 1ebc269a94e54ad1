// Prints the tables of connection.js as JSON, for the test that compares them with Python.
import { CLOSE_CODES, CONNECT_PATH, Parameter, TEMPORARY_DENIALS } from "../../client/web/chat_web/static/connection.js";
import { ResponseKind, RequestKind, SUBPROTOCOL_V1, SUBPROTOCOL_V2 } from "../../client/web/chat_web/static/frameproto.js";
import { ClientType, Progress, ServerType } from "../../client/web/chat_web/static/frameproto-v2.js";

const temporary = [...TEMPORARY_DENIALS].sort();
const connection = { TEMPORARY_DENIALS: temporary, CLOSE_CODES, CONNECT_PATH, Parameter, SUBPROTOCOL_V1, SUBPROTOCOL_V2 };
console.log(JSON.stringify({ ...connection, ResponseKind, RequestKind, ClientType, Progress, ServerType }));
