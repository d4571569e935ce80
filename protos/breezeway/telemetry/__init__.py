"""What the processes of Breezeway say of themselves: log lines and traces. Server and shim share it."""
