"""Any key store as a channel: what Redis, S3 and DynamoDB have in common.

Every process has a mailbox of its own in the store; peers put objects into it and it takes them out. ``store`` says
what a store must be able to do, ``objects`` what an object looks like, ``outbox`` and ``inbox`` turn frames into
objects and back for one peer each, ``channel`` is the channel.
"""

from __future__ import annotations

from fmi_mpi.channels.mailbox.channel import MailboxChannel
from fmi_mpi.channels.mailbox.store import Events, Store, Usage

__all__ = ["Events", "MailboxChannel", "Store", "Usage"]
