# The chatbot's two frames for the Kaitai Struct compiler (https://kaitai.io), so that any language can read them.
#
# It describes the layout and which parts a kind has. What it cannot say is in docs/protocol.md and has test vectors:
# text is strict UTF-8 (left as bytes here, because decoders of strings forgive), a frame has a size limit, the text of
# an error is "code: message".
#
# A WebSocket message does not say which of the two it is; its direction does. What a client sends is a `request`,
# what a server sends is a `response`.
meta:
  id: chatbot_frame
  title: Frames of the chatbot protocol (subprotocol chatbot.v1)
  license: Apache-2.0
  ks-version: "0.9"
  endian: be

params:
  - id: direction
    type: u1
    enum: direction
    doc: Who sent the message.

seq:
  - id: frame
    type:
      switch-on: direction
      cases:
        'direction::from_client': request
        'direction::from_server': response

types:
  request:
    doc: What a client asks; the body fills the rest of the message.
    seq:
      - id: kind
        type: u1
        enum: request_kind
        valid:
          any-of:
            - 'request_kind::text'
            - 'request_kind::voice'
            - 'request_kind::video'
      - id: body
        size-eos: true
        valid:
          expr: _.length > 0
        doc: UTF-8, MP3 or MP4, as the kind says; never empty.

  response:
    doc: What a server answers; the image fills the rest of the message.
    seq:
      - id: kind
        type: u1
        enum: response_kind
        valid:
          any-of:
            - 'response_kind::text'
            - 'response_kind::voice'
            - 'response_kind::video'
            - 'response_kind::error'
      - id: text_size
        type: u4
        valid:
          min: 1
        doc: Bytes of text, not characters.
      - id: voice_size
        type: u4
        valid:
          expr: 'has_voice ? _ > 0 : _ == 0'
      - id: text
        size: text_size
        doc: UTF-8.
      - id: voice
        size: voice_size
        doc: MP3.
      - id: image
        size-eos: true
        valid:
          expr: 'has_image ? _.length > 0 : _.length == 0'
        doc: JPEG.
    instances:
      has_voice:
        value: 'kind == response_kind::voice or kind == response_kind::video'
      has_image:
        value: 'kind == response_kind::video'

enums:
  direction:
    0: from_client
    1: from_server
  request_kind:
    0: text
    1: voice
    2: video
  response_kind:
    0: text
    1: voice
    2: video
    3: error
