//! Bytes of the logical replication stream to changes. One text decoder for stream and COPY.
