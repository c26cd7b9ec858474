# balhost's configuration, and its manual. Every key is here once, with its default
# value; where the comment says "example", the key has no default.
# The file works as it is: balhost dev.
#
# Durations ("20s", "1h30m") and sizes ("512KiB", "1GiB") are strings. Relative
# paths start at this file's folder. env("NAME") and env("NAME", "otherwise")
# read the environment, and file("path") reads a file: keep secrets there, not
# here. A reload reads all of them again.
# balhost check -c config.hcl shows all mistakes at once.

data_dir     = "data"                       # the ledger, copies of plugins, the admin socket; one running host per folder
connect_rate = 400                          # new connections to CCS per minute at most, all sessions together; a tenth of them at once; fcm_v1 doesn't count

session "main" {                            # one sender, with a name for logs and the API; one block for each sender
  sender_id = "482915730064"                # example: the Firebase project number; the ledger stores messages under it, so the block can be renamed, and can change its transport

  ccs {                                     # the transport: both ways, to a server that speaks CCS; or fcm_v1, as below
    address         = "127.0.0.1:5236"      # example: the simulator; Google's was fcm-xmpp.googleapis.com:5235; all addresses of a name are tried
    server_key      = env("BALHOST_SERVER_KEY", "simulator") # example: a real sender has a key of its own
    connections     = 1                     # connections to CCS at a time; each has its own window
    max_connections = 1000                  # the same, with those that drain and their replacements; CCS allows 1000 at most
    window          = 100                   # unanswered downstreams on each connection; CCS allows 100 at most
    ping_interval   = "20s"                 # after this long without a stanza, ping CCS
    ping_timeout    = "10s"                 # after this long without a stanza following the ping, replace the connection
    answer_timeout  = "1m"                  # after this long without an ack or nack for a downstream, replace the connection and send it again; after 18 times it fails, if CCS answered others meanwhile
    max_stanza      = "1MiB"                # a longer one is skipped and counted; 1MiB at most
    ack_warn        = "100ms"               # log each upstream whose ack took longer

    connect_backoff {                       # the wait between tries to connect; it grows, and has jitter
      min = "1s"
      max = "5m"
    }

    tls {                                   # CCS's certificate is always verified
      ca_file     = "data/sim-ca.pem"       # example: the simulator writes it; without this key the system's roots are used; read again at a reload, and after a refused certificate
      server_name = "localhost"             # example: the name in the certificate; without it the address's host
    }
  }
}

# A session for today's phones: down by FCM, and up by its gateway. It is a comment, because
# it needs a Firebase project, and files with keys. balhost dev has a session like it.
#
# session "phones" {
#   sender_id = "739201846512"              # example: the project number (Firebase console: Project settings, Cloud Messaging, Sender ID)
#
#   fcm_v1 {                                # the transport: FCM's HTTP v1, downstream only
#     credentials = file("service-account.json") # example: a service account's key file, watched and read again; "adc": the platform's own
#     endpoint    = "https://fcm.googleapis.com" # another one is for tests
#     ca_file     = ""                      # for tests; the system's roots without it
#     connections = 4                       # HTTP/2 connections at most, each with 100 requests at a time
#     rate        = 8000                    # messages a second at most; a project may send 600,000 a minute
#   }
#
#   gateway {                               # where devices connect to, over HTTPS and WebSocket; beside fcm_v1 or ccs, or alone
#     listen          = "127.0.0.1:8443"    # example: also "0.0.0.0:8443", and "unix:data/gateway.sock" behind a proxy
#     trusted_proxies = []                  # proxies in front of it, like "10.0.0.0/8": only they are believed about a client's address
#     proxy_protocol  = false               # they speak the PROXY protocol; false: they set X-Forwarded-For
#     cors_origins    = []                  # web pages that may call it, each like "https://chat.example.com"
#     max_connections = 10000               # at a time
#     rate            = 10                  # messages a second that one device may send, on average; 100 at once
#
#     tls {                                 # without this block it listens only on this machine, behind a proxy
#       cert_file = "tls.crt"               # example: PEM, the whole chain; watched and read again, without a reload
#       key_file  = "tls.key"               # example: PEM, its private key
#     }
#
#     auth "jwt" {                          # who a device is: any auth block that fits decides; here by the tokens of your own login
#       jwks           = "jwks.json"        # example: its public keys, a file or an https URL; both are read again
#       issuer         = ""                 # what iss must be; "": anything
#       audience       = ""                 # what aud must contain; "": anything
#       from_claim     = "sub"              # the claim that is the device, its from
#       category_claim = ""                 # the claim that is the app, its category; "": the device says it
#       app_check      = { project_number = "739201846512", apps = [] } # example: also wants a token of App Check, in any kind of auth; apps: those that may call, none is every app of the project
#     }
#
#     auth "firebase" {                     # by ID tokens of Firebase Auth; a user may have 20 devices
#       project = "my-app-1a2b3"            # example: the project's id
#     }
#
#     auth "hmac" {                         # each request is signed with the device's own secret
#       master = file("gateway-master.key") # example: a device's secret is HMAC-SHA256(master, its name)
#     }
#
#     auth "hmac" {                         # the same, with secrets that are listed
#       secrets = { "dev-1" = file("dev-1.key") } # example: by the devices' names
#     }
#
#     auth "static" {                       # one token for all, and each device says who it is: for development
#       token    = env("GATEWAY_TOKEN", "devtoken") # example: any text
#       insecure = false                    # true: also where other machines can connect
#     }
#
#     huawei {                              # takes what Huawei's Push Kit delivers of devices: uplink messages and receipts
#       callback_key  = file("huawei.key")  # example: as AppGallery Connect shows it
#       callback_user = "balhost"           # example: the user name of the receipts' callback
#     }
#   }
# }

plugins {
  dir         = "plugins"                   # every executable file in it is a plugin, and every folder with an executable file named plugin; its name (letters, digits, '_', '-') is the plugin's; must not be inside data_dir, nor contain it
  max_size    = "512MiB"                    # of a plugin's file, or of all that is in its folder
  max_entries = 20000                       # files, folders and links in a plugin's folder
}

plugin "chatroom" {                         # example: write a block only for a plugin that needs other values than these
  categories      = ["com.example.chatroom"] # example: replaces the categories that the plugin declares; "*" means all that no other plugin claims
  order           = "key:data.room"         # example: replaces the plugin's own order; none, device, or key: and a path into the payload
  max_attempts    = 15                      # after so many attempts an event becomes a dead letter; 0 is no limit
  handler_timeout = "30s"                   # for one event; then the handler's context ends, and its lane waits until it returns
  drain_timeout   = "30s"                   # when it has to stop: for the events that it holds
  start_timeout   = "30s"                   # for each step of a new process's start: the handshake, each of the first answers, and its Start; raise it for slow starters (a JVM on a busy machine)
  suspect_after   = 3                       # an event that was in flight at so many crashes is a suspect: it is tried alone
  max_in_flight   = 256                     # events that it holds at most
  strategy        = "handover"              # a new version starts beside the old one; "recreate": after the old one has ended, for a plugin that can't run twice
  probation       = "30s"                   # a new version must run this long, and handle an event if one is handed to it; a crash, a hang or a higher error rate before that brings the old version back; "0s": no probation
  on_remove       = "stop"                  # when its file is removed; "keep": it goes on until the host stops
  sha256          = ""                      # accept only a file with this hash; a file NAME.sha256 beside the plugin does the same
  memory_max      = "0B"                    # of all its processes together; above it the plugin is killed, which counts as a crash; 0B is no limit
  debug           = false                   # true: a debugger may stop it for as long as you like: no handler_timeout, start_timeout, pings, probation and suspects; strategy is "recreate"; BALHOST_DEBUG=1 is set in it (sdk/debugging.md)
  env             = { HTTPS_PROXY = env("HTTPS_PROXY", "") } # example: added to the few variables of its process (plugins/README.md); values are never shown; a change restarts the plugin
  config          = { max_members = 100 }   # example: the plugin's own settings, given to it as JSON; the plugin checks them

  restart_backoff {                         # the wait after a crash; it grows, and has jitter
    min = "1s"
    max = "1m"
  }
}

ledger {
  dedup_window = "48h"                      # an upstream that CCS or a device sends again within this time is stored once; the disk holds its key for up to one and a half times as long
  retention    = "24h"                      # how long the ledger keeps a line about each finished message
  disk_soft    = "1GiB"                     # intake stops when free space is below this plus the ledger's size (balhost dev: 64MiB)
  disk_hard    = "256MiB"                   # the host ends, and does not start, when free space is below this (balhost dev: 16MiB)
  ballast      = "256MiB"                   # size of a file that is deleted to be able to start on a full disk (balhost dev: none)
  inodes       = 10000                      # intake stops when fewer inodes are free; below a tenth of it the host ends
  encryption_key_file = ""                  # the ledger's files and its backups are encrypted by the key in this file (balhost key new FILE); "": they are not. For a ledger that is there: balhost rekey
}

admin {
  listen = "127.0.0.1:8765"                 # also "unix:data/admin.sock"; an address that other machines can reach needs a token, and should have tls
  token  = env("BALHOST_ADMIN_TOKEN", "")   # of the role admin; when it is not empty, or a token block is there, every request must have a token

# token "grafana" {                         # one for each person or program, by the name that the audit log shows; a reload takes changed ones at once
#   role   = "read"                         # example: read sees state, lists and metrics; operate also payloads, and may send, cancel, replay, retry and pause; admin may all
#   secret = env("GRAFANA_TOKEN")           # example: at least 16 random bytes: openssl rand -hex 32
# }

# tls {                                     # HTTPS from TLS 1.2 on, instead of plain HTTP; the files are watched, and new ones count at once
#   cert_file      = "admin.crt"            # example: PEM, with the chain behind it
#   key_file       = "admin.key"            # example: PEM
#   client_ca_file = "admin-clients.pem"    # example: PEM; then every client must show a certificate of these CAs, probes too. Commands that read this file show cert_file
# }
}

log {
  level  = "info"                           # trace, debug, info, warn, error
  format = "text"                           # text, json
}

# OpenTelemetry traces of messages, by OTLP over HTTP. Without this block none are made. Keys that
# are left out are those of the variables OTEL_EXPORTER_OTLP_*, if these are set.
#
# tracing {
#   endpoint = "http://127.0.0.1:4318"      # example: the collector's address; the host adds /v1/traces
#   sample   = 0.01                         # the part of messages that is traced, from 0 to 1
#   headers  = { authorization = env("OTLP_TOKEN") } # example: of each request; values are never shown
#   ca_file  = ""                           # PEM, of the collector's certificate; the system's roots without it
# }
