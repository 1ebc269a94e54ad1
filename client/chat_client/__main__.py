"""`python -m chat_client` is `chat-client`."""

from chat_client.cli import main

if __name__ == "__main__":
    main(prog_name="chat-client")
