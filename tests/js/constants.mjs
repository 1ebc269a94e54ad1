// Prints the tables of connection.js as JSON, for the test that compares them with Python.
import { CLOSE_CODES, CONNECT_PATH, Parameter } from "../../client/web/chat_web/static/connection.js";
import { ResponseKind, RequestKind, SUBPROTOCOL_V1 } from "../../client/web/chat_web/static/frameproto.js";

console.log(JSON.stringify({ CLOSE_CODES, CONNECT_PATH, Parameter, ResponseKind, RequestKind, SUBPROTOCOL_V1 }));
