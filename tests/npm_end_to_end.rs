//! The product's main job on real tools: nginx with Nginx Proxy Manager's log format, curl, iptables.
//!
//! Three network namespaces stand for the client, the Docker host and the container. The host forwards between them
//! through the chain `DOCKER-USER`, as Docker does; f2b runs on the host with the user's own files, unchanged, and
//! sees them where they belong (`/data/action.d`, `/var/log/npm`) by bind mounts that nobody else sees.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::{Process, available, binary, has_program, repository, run, wait_until};

const JAIL: &str = "npm-general-forceful-browsing";

/// Namespaces that go away with the test.
struct Net {
    names: [String; 3],
}

impl Net {
    /// client 10.77.0.2 ── 10.77.0.1 host 172.18.0.1 ── 172.18.0.5 container
    fn new() -> Self {
        let id = std::process::id();
        let names = ["client", "host", "box"].map(|role| format!("f2b-{id}-{role}"));
        let net = Self { names };
        let [client, host, container] = &net.names;
        for name in &net.names {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        net.link(client, "10.77.0.2/24", host, "10.77.0.1/24", "a");
        net.link(container, "172.18.0.5/16", host, "172.18.0.1/16", "b");
        ip(&["-n", client, "route", "add", "default", "via", "10.77.0.1"]);
        ip(&["-n", container, "route", "add", "default", "via", "172.18.0.1"]);
        for command in [
            "sysctl -q -w net.ipv4.ip_forward=1",
            "iptables -N DOCKER-USER",
            "iptables -A DOCKER-USER -j RETURN",
            "iptables -I FORWARD -j DOCKER-USER",
        ] {
            run(Command::new("ip").args(["netns", "exec", host]).args(command.split(' ')));
        }
        net
    }

    fn link(&self, left: &str, left_address: &str, right: &str, right_address: &str, tag: &str) {
        let (l, r) = (format!("f2b{tag}{}", std::process::id()), format!("f2b{tag}p{}", std::process::id()));
        ip(&["link", "add", &l, "netns", left, "type", "veth", "peer", "name", &r, "netns", right]);
        for (name, link, address) in [(left, &l, left_address), (right, &r, right_address)] {
            ip(&["-n", name, "address", "add", address, "dev", link]);
            ip(&["-n", name, "link", "set", link, "up"]);
        }
    }

    fn client(&self) -> &str {
        &self.names[0]
    }

    fn host(&self) -> &str {
        &self.names[1]
    }

    fn container(&self) -> &str {
        &self.names[2]
    }

    /// Whether a request with this forwarded-for header gets an answer, and which.
    fn get(&self, forwarded_for: &str, path: &str) -> Option<String> {
        let mut curl = Command::new("ip");
        curl.args(["netns", "exec", self.client(), "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]);
        curl.args(["--max-time", "2", "-A", "Mozilla/5.0 (X11; Linux x86_64)"]);
        curl.arg("-H").arg(format!("X-Forwarded-For: {forwarded_for}"));
        curl.arg(format!("http://172.18.0.5{path}"));
        let output = curl.output().expect("curl starts");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn rules(&self) -> String {
        run(Command::new("ip").args(["netns", "exec", self.host(), "iptables", "-S", "DOCKER-USER"]))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

/// A loopback HTTP server inside a namespace that notes what it is asked.
#[derive(Clone)]
struct StandIn {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn start(namespace: &str) -> Self {
        let path = format!("/run/netns/{namespace}");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let (sender, port) = std::sync::mpsc::channel();
        thread::spawn(move || {
            // A thread that has entered the namespace makes its sockets there.
            let namespace = fs::File::open(path).expect("the namespace");
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).expect("setns");
            let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
            sender.send(listener.local_addr().expect("an address").port()).expect("the test waits");
            for stream in listener.incoming().flatten() {
                if let Some(request) = answer(stream) {
                    notes.lock().expect("the notes").push(request);
                }
            }
        });
        Self { port: port.recv().expect("a port"), seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("the notes").clone()
    }

    #[track_caller]
    fn expect(&self, what: &str, is_it: impl Fn(&str) -> bool) {
        wait_until(what, || self.seen().iter().any(|request| is_it(request)));
    }
}

/// Reads one request, answers as Cloudflare's API answers a search, and tells request line and body.
fn answer(mut stream: TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let reply = r#"{"result":[{"id":"rule-1"}],"success":true}"#;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reply}", reply.len())
        .ok()?;
    Some(format!("{} {}", request.trim_end(), String::from_utf8_lossy(&body)))
}

/// Nginx Proxy Manager's log format in front of a backend that knows one page.
fn nginx_conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"daemon off;
master_process off;
user root;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ }}
http {{
    log_format proxy '[$time_local] - $upstream_status $status - $request_method $scheme $host "$request_uri" [Client $remote_addr] [Length $body_bytes_sent] [Gzip -] [Sent-to $server_addr] "$http_user_agent" "$http_referer"';
    set_real_ip_from 10.77.0.0/24;
    real_ip_header X-Forwarded-For;
    client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;
    uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
    server {{
        listen 80;
        access_log {dir}/log/proxy-host-1_access.log proxy;
        location / {{ proxy_pass http://127.0.0.1:8080; }}
    }}
    server {{
        listen 127.0.0.1:8080;
        access_log off;
        location = / {{ return 200 "welcome\n"; }}
        location / {{ return 404; }}
    }}
}}
"#
    )
}

/// A directory that exists for as long as the test, so that something can be mounted there.
struct MountPoint {
    path: PathBuf,
    made: bool,
}

impl MountPoint {
    fn new(path: &str) -> Self {
        let path = PathBuf::from(path);
        let made = !path.exists();
        if made {
            fs::create_dir_all(&path).expect("a mount point");
        }
        Self { path, made }
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The user's directory as it is, with a server of its own, and Cloudflare's address replaced.
fn configuration(dir: &Path, cloudflare: u16) -> PathBuf {
    let (from, to) = (repository().join("examples/npm"), dir.join("fail2ban"));
    for part in ["filter.d", "action.d", "jail.d"] {
        fs::create_dir_all(to.join(part)).expect("a directory");
    }
    for file in [
        "filter.d/npm-general-forceful-browsing.conf",
        "action.d/action-ban-docker-forceful-browsing.conf",
        "action.d/action-ban-cloudflare.conf",
        "action.d/telegram_notif.sh",
        "jail.d/jail.local",
    ] {
        fs::copy(from.join(file), to.join(file)).expect("a file of the example");
    }
    let local = format!("[Definition]\n_cf_api_url = http://127.0.0.1:{cloudflare}/rules\n");
    fs::write(to.join("action.d/action-ban-cloudflare.local"), local).expect("a file");
    let conf = format!(
        "[Definition]\nloglevel = DEBUG\nlogtarget = {0}/f2b.log\nsocket = {0}/f2b.sock\npidfile = {0}/f2b.pid\n\
         dbfile = {0}/f2b.sqlite3\n",
        dir.display()
    );
    fs::write(to.join("fail2ban.conf"), conf).expect("a file");
    to
}

#[test]
fn forceful_browsing_behind_a_proxy_is_banned_unbanned_and_banned_for_longer() {
    let tools = ["ip", "iptables", "nginx", "curl", "jq", "mount", "sysctl"];
    let missing: Vec<&str> = tools.into_iter().filter(|tool| !has_program(tool)).collect();
    if !available(&format!("the programs {}", missing.join(" ")), missing.is_empty())
        || !available("root, for network namespaces", nix::unistd::geteuid().is_root())
    {
        return;
    }
    let net = Net::new();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (telegram, cloudflare) = (StandIn::start(net.host()), StandIn::start(net.host()));
    let config = configuration(dir.path(), cloudflare.port);
    fs::create_dir(dir.path().join("log")).expect("a directory");
    fs::write(dir.path().join("nginx.conf"), nginx_conf(dir.path())).expect("a file");

    let mut nginx = Command::new("ip");
    nginx.args(["netns", "exec", net.container(), "nginx", "-c"]).arg(dir.path().join("nginx.conf"));
    nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _nginx = Process(nginx.spawn().expect("nginx starts"));
    wait_until("nginx answers", || net.get("198.51.100.1", "/").as_deref() == Some("200"));

    let (_data, _logs) = (MountPoint::new("/data"), MountPoint::new("/var/log/npm"));
    let mut server = Command::new("ip");
    server.args(["netns", "exec", net.host(), "sh", "-c"]);
    server
        .arg(r#"mount --bind "$1" /data && mount --bind "$2" /var/log/npm && shift 2 && exec "$@""#)
        .arg("sh");
    server.arg(&config).arg(dir.path().join("log")).arg(binary("f2b-server")).arg("-c").arg(&config);
    server.args(["-f", "start"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.env("TELEGRAM_API", format!("http://127.0.0.1:{}", telegram.port));
    server.env("TELEGRAM_TOKEN", "123:abc").env("TELEGRAM_CHAT", "42");
    let _server = Process(server.spawn().expect("the server starts"));
    let ask = |words: &[&str]| {
        let mut client = Command::new(binary("f2b-client"));
        client.arg("-s").arg(dir.path().join("f2b.sock")).args(["-p", "/nowhere", "--loglevel", "INFO"]);
        run(client.args(["--logtarget", "STDOUT", "--syslogsocket", "auto"]).args(words))
    };
    wait_until("the jail runs", || {
        let mut client = Command::new(binary("f2b-client"));
        client
            .arg("-c")
            .arg(&config)
            .args(["status", JAIL])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    let banned = |ip: &str| ask(&["get", JAIL, "banip"]).split_whitespace().any(|banned| banned == ip);

    // The first offence: fifteen missing pages, then silence for this client and for nobody else.
    let bad = "203.0.113.7";
    for page in 0..15 {
        assert_eq!(net.get(bad, &format!("/missing-{page}")).as_deref(), Some("404"), "page {page}");
    }
    wait_until("the firewall has the rule", || net.rules().contains("X-Forwarded-For: 203.0.113.7"));
    assert!(banned(bad));
    assert_eq!(net.get(bad, "/"), None, "a banned client gets no answer");
    assert_eq!(net.get("198.51.100.1", "/").as_deref(), Some("200"));
    telegram.expect("Telegram hears of the ban", |request| {
        request.starts_with("POST /bot123:abc/sendMessage ")
            && request.contains("203.0.113.7")
            && request.contains("172.18.0.5")
    });
    cloudflare.expect("Cloudflare hears of the ban", |request| {
        request.starts_with("POST /rules ")
            && request.contains(r#""target":"ip","value":"203.0.113.7""#)
            && request.contains(&format!("Fail2Ban {JAIL}"))
    });

    // By hand it ends at once.
    assert_eq!(ask(&["set", JAIL, "unbanip", bad]).trim(), "1");
    assert!(!net.rules().contains("203.0.113.7"), "{}", net.rules());
    assert_eq!(net.get(bad, "/").as_deref(), Some("200"));
    cloudflare
        .expect("Cloudflare hears of the unban", |request| request.starts_with("DELETE /rules/rule-1 "));

    // An IPv6 client whose first ban runs out by itself is banned for longer the second time.
    let worse = "2001:db8::7";
    assert_eq!(ask(&["set", JAIL, "bantime", "3"]).trim(), "3");
    assert_eq!(ask(&["set", JAIL, "bantime.rndtime", "0"]).trim(), "0");
    for page in 0..15 {
        assert_eq!(net.get(worse, &format!("/missing-{page}")).as_deref(), Some("404"), "page {page}");
    }
    wait_until("the IPv6 client is banned", || banned(worse));
    cloudflare.expect("Cloudflare hears of the IPv6 client", |request| {
        request.contains(r#""target":"ip6","value":"2001:db8::7""#)
    });
    wait_until("its ban runs out", || !banned(worse) && !net.rules().contains(worse));
    // The next failure has to be later than the ban by the clock of the log, which counts whole seconds.
    thread::sleep(Duration::from_millis(1100));
    for page in 0..15 {
        if net.get(worse, &format!("/missing-{page}")).is_none() {
            break;
        }
    }
    wait_until("the IPv6 client is banned again", || banned(worse));
    let line = ask(&["get", JAIL, "banip", "--with-time"]);
    let seconds: u64 = line
        .split(" + ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| panic!("no ban time in {line:?}"));
    // bantime 3 by the second multiplier, which is 5.
    assert_eq!(seconds, 15, "{line}");
    let log = fs::read_to_string(dir.path().join("f2b.log")).expect("the log");
    assert!(log.contains(&format!("[{JAIL}] Increase Ban {worse} (2 # ")), "{log}");
    assert_eq!(ask(&["stop"]).trim(), "Shutdown successful");
    wait_until("the firewall is as it was", || !net.rules().contains("X-Forwarded-For"));
}
