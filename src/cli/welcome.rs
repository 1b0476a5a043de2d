//! What `millrace run` prints once it runs: the only text on its standard output.

use millrace_directory::ExposeSecret;

use crate::app::App;
use crate::demo::Demo;
use crate::folder::Folder;

/// What to print. The demo account's secrets are in it at the first start, and never again.
pub(super) fn text(app: &App, folder: &Folder) -> String {
    let urls = app.urls();
    let data = folder.path().display();
    let running = format!("Millrace runs on {data}\n  API         {}\n  S3 gateway  {}\n", urls.api, urls.s3);
    match app.demo() {
        Some(demo) => format!("{running}{}", first_start(demo, folder)),
        None => format!("{running}Ctrl-C stops it.\n"),
    }
}

fn first_start(demo: &Demo, folder: &Folder) -> String {
    let env = folder.demo_env();
    let env = env.display();
    format!(
        "
This is the first start: there is an account to try it with. These are shown once, and kept in {env}
  account   {}
  API key   {}   (sends events)
  token     {}   (fetches exports)
  user      {}   password {}

Next, in another terminal:
  source {env}
  curl -i \"$MILLRACE_API/api/v1/tracking/track\" -H \"X-API-Key: $MILLRACE_API_KEY\" \\
       -H 'Content-Type: application/json' -d '{{\"user_id\": \"ann\", \"event_type\": \"purchase\", \"value\": 42}}'
  millrace status --data {}
  millrace load --type events --date \"$(date -u +%F)\" --output export

Rows are visible within 20 seconds. Ctrl-C stops it.
",
        demo.account,
        demo.api_key.expose_secret(),
        demo.pat.expose_secret(),
        demo.user,
        demo.password.expose_secret(),
        folder.path().display(),
    )
}
