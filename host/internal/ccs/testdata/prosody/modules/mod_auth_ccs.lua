-- Accounts with plain passwords. SASL PLAIN takes CCS's "<sender>@<host>" for a
-- user, which XMPP does not, and the bare "<sender>" too.
local new_sasl = require "util.sasl".new;
local nodeprep = require "util.encodings".stringprep.nodeprep;
local accounts, host, provider = module:open_store("accounts"), module.host, {};
local domain = "@" .. host:gsub("%p", "%%%0") .. "$";

function provider.user_exists(user) return accounts:get(user) ~= nil; end
function provider.test_password(user, password)
	return password ~= nil and (accounts:get(user) or {}).password == password;
end
function provider.get_sasl_handler()
	return new_sasl(host, {
		nodeprep = function(user) return nodeprep((user:gsub(domain, ""))); end;
		plain_test = function(_, user, password) return provider.test_password(user, password), true; end;
	});
end
module:provides("auth", provider);
