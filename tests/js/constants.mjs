// Prints the tables of connection.js as JSON, for the test that compares them with Python.
import { CLOSE_CODES, CONNECT_PATH, Parameter, TEMPORARY_DENIALS, TOKEN_DENIALS } from "../../client/web/chat_web/static/connection.js";
import { ResponseKind, RequestKind, SUBPROTOCOL_V1, SUBPROTOCOL_V2 } from "../../client/web/chat_web/static/frameproto.js";
import { ClientType, Progress, ServerType } from "../../client/web/chat_web/static/frameproto-v2.js";

const denials = { TEMPORARY_DENIALS: [...TEMPORARY_DENIALS].sort(), TOKEN_DENIALS: [...TOKEN_DENIALS].sort() };
const connection = { ...denials, CLOSE_CODES, CONNECT_PATH, Parameter, SUBPROTOCOL_V1, SUBPROTOCOL_V2 };
console.log(JSON.stringify({ ...connection, ResponseKind, RequestKind, ClientType, Progress, ServerType }));
