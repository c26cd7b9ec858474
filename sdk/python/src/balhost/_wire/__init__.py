"""Generated from sdk/wire/balhost/plugin/v1/plugin.proto. make.sh compares the two."""
