/**
 * Names that malware and attackers' tools ask for, and controllers do not: what `notable_host` looks for where `rules.yaml` says nothing else. Each stands
 * for itself and for what is below it. A person at a desk asks for some of them too.
 */
export const NOTABLE_HOSTS_DEFAULT: Readonly<Record<string, string[]>> = {
  'a name that anybody can point anywhere': [
    'afraid.org', 'chickenkiller.com', 'ddns.net', 'ddnsking.com', 'duckdns.org', 'dyndns.org', 'dynu.net', 'freeddns.org', 'hopto.org', 'kozow.com', 'mooo.com', 'myddns.me',
    'myftp.biz', 'no-ip.biz', 'no-ip.org', 'nsupdate.info', 'ooguy.com', 'publicvm.com', 'redirectme.net', 'serveftp.com', 'servehttp.com', 'sytes.net', 'zapto.org',
  ],
  'a tunnel through firewalls': [
    'bore.pub', 'loca.lt', 'localhost.run', 'localtunnel.me', 'ngrok.app', 'ngrok.io', 'ngrok-free.app', 'pagekite.me', 'playit.gg', 'portmap.host', 'portmap.io', 'serveo.net', 'trycloudflare.com',
  ],
  'its own address as the Internet sees it': [
    'api.ipify.org', 'api64.ipify.org', 'checkip.amazonaws.com', 'checkip.dyndns.com', 'checkip.dyndns.org', 'freegeoip.app', 'icanhazip.com', 'ident.me', 'ifconfig.co', 'ifconfig.me', 'ip-api.com', 'ip.anysrc.net',
    'ipecho.net', 'ipinfo.io', 'ipwho.is', 'ipwhois.app', 'myexternalip.com', 'reallyfreegeoip.org', 'whatismyip.akamai.com', 'whatismyipaddress.com', 'wtfismyip.com',
  ],
  'a place to drop files and texts': [
    '0x0.st', 'anonfiles.com', 'bashupload.com', 'catbox.moe', 'file.io', 'gofile.io', 'hastebin.com', 'mega.co.nz', 'mega.nz', 'paste.ee', 'pastebin.com', 'rentry.co', 'temp.sh', 'termbin.com', 'transfer.sh',
  ],
  'a chat’s interface for programs': ['api.telegram.org', 'cdn.discordapp.com', 'discord.com', 'discordapp.com'],
  'a host that tells who called it': [
    'burpcollaborator.net', 'canarytokens.com', 'ceye.io', 'dnslog.cn', 'interact.sh', 'oast.fun', 'oast.live', 'oast.me', 'oast.online', 'oast.pro', 'oast.site', 'oastify.com', 'pipedream.net', 'requestbin.net', 'webhook.site',
  ],
  'the Tor network': ['onion', 'onion.to', 'onion.ws', 'tor2web.org', 'torproject.org'],
  'a pool of miners': [
    '2miners.com', 'ethermine.org', 'f2pool.com', 'hashvault.pro', 'minergate.com', 'minexmr.com', 'moneroocean.stream', 'nanopool.org', 'nicehash.com', 'supportxmr.com', 'xmrpool.eu',
  ],
  'a way to operate it from afar': [
    'anydesk.com', 'dwservice.net', 'logmein.com', 'meshcentral.com', 'remoteutilities.com', 'rustdesk.com', 'screenconnect.com', 'splashtop.com', 'supremocontrol.com', 'teamviewer.com', 'ultraviewer.net',
  ],
}; // prettier-ignore
