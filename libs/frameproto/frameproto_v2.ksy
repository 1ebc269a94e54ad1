# The frames of chatbot.v2 for the Kaitai Struct compiler (https://kaitai.io): an envelope that names a message, and
# behind it a frame of v1 (frameproto.ksy), or less.
#
# What it cannot say is in docs/protocol-v2.md and has test vectors: text is strict UTF-8 (left as bytes here), a frame
# has a size limit.
meta:
  id: chatbot_frame_v2
  title: Frames of the chatbot protocol, version 2 (subprotocol chatbot.v2)
  license: Apache-2.0
  ks-version: "0.11"
  endian: be
  imports:
    - frameproto

params:
  - id: direction
    type: u1
    enum: chatbot_frame::direction
    doc: Who sent the message.

seq:
  - id: frame
    type:
      switch-on: direction
      cases:
        'chatbot_frame::direction::from_client': client_frame
        'chatbot_frame::direction::from_server': server_frame

types:
  client_frame:
    doc: What a client sends.
    seq:
      - id: type
        type: u1
        enum: client_type
        valid:
          any-of:
            - 'client_type::request'
            - 'client_type::again'
            - 'client_type::cancel'
      - id: message_id
        size: 16
        valid:
          expr: '_ != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].as<bytes>'
        doc: A UUID that the client has chosen.
      - id: request
        type: chatbot_frame::request
        if: type != client_type::cancel
      - id: rest
        size-eos: true
        valid:
          expr: _.length == 0
        doc: Nothing follows.

  server_frame:
    doc: What a server sends.
    seq:
      - id: type
        type: u1
        enum: server_type
        valid:
          any-of:
            - 'server_type::response'
            - 'server_type::piece'
            - 'server_type::status'
      - id: message_id
        size: 16
        doc: That of the message that it is about; zeros only in an error about a frame without a readable id.
      - id: response
        type: chatbot_frame::response
        if: type == server_type::response
        valid:
          expr: 'has_id or _.kind == chatbot_frame::response_kind::error'
      - id: text
        size-eos: true
        if: type == server_type::piece
        valid:
          expr: has_id and _.length > 0
        doc: UTF-8 that continues the reply.
      - id: progress
        type: u1
        enum: progress
        if: type == server_type::status
        valid:
          expr: >-
            has_id and (_ == progress::waiting or _ == progress::listening
            or _ == progress::thinking or _ == progress::speaking)
      - id: rest
        size-eos: true
        valid:
          expr: _.length == 0
        doc: Nothing follows.
    instances:
      has_id:
        value: 'message_id != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].as<bytes>'

enums:
  client_type:
    0: request
    1: again
    2: cancel
  server_type:
    0: response
    1: piece
    2: status
  progress:
    0: waiting
    1: listening
    2: thinking
    3: speaking
