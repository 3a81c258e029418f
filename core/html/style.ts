/** Readable in the dark and on paper; colours say nothing that words do not say too. */
export const STYLE = `
:root{color-scheme:light dark;--text:#1c2330;--quiet:#5d6878;--page:#fff;--panel:#f5f7fa;--line:#d5dbe4;--good:#1a7f4b;--again:#b26a00;--bad:#c0282d;--blue:#2563b8}
@media (prefers-color-scheme:dark){:root{--text:#e6eaf0;--quiet:#98a3b3;--page:#12161c;--panel:#1b212a;--line:#333c49;--good:#4cc38a;--again:#f0a43a;--bad:#f2686c;--blue:#7fb2f5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1020px;margin:0 auto;padding:24px}
h1{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:32px 0 8px}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
.quiet,figcaption,caption,footer{color:var(--quiet);font-size:13px}
footer{margin-top:40px;border-top:1px solid var(--line);padding-top:8px}
.tiles{display:flex;flex-wrap:wrap;gap:8px;margin:12px 0}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:8px 14px;min-width:96px}
.tile b{display:block;font-size:20px}
.tile.failed b,.tile.refused b{color:var(--bad)}
.badge{border-radius:10px;padding:1px 9px;border:1px solid currentColor;font-size:13px;white-space:nowrap}
.badge.complete,.badge.pass{color:var(--good)}
.badge.partial,.badge.paused,.badge.warn{color:var(--again)}
.badge.failed,.badge.fail{color:var(--bad)}
.failure{background:var(--panel);border-left:4px solid var(--bad);padding:4px 14px;margin:10px 0;border-radius:4px}
.failure p{margin:6px 0}
table{border-collapse:collapse;width:100%;margin:8px 0 16px}
caption{text-align:left;padding:4px 0}
th,td{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top;font-weight:normal;overflow-wrap:anywhere}
thead th{color:var(--quiet);font-size:13px}
td.number,th.number{text-align:right;white-space:nowrap}
.step{white-space:nowrap;overflow-wrap:normal}
.wide{width:45%}
.bar{background:var(--blue);height:12px;border-radius:2px;margin-top:5px}
figure{margin:8px 0 20px;overflow-x:auto}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--quiet);font:12px system-ui,sans-serif}
svg .bold{fill:var(--text);font-weight:600;font-size:13px}
svg .small{fill:var(--text);font-size:12px}
svg .tiny{font-size:10px}
rect.good{fill:var(--good)}rect.again{fill:var(--again)}rect.bad{fill:var(--bad)}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin-left:10px}
.key.good{background:var(--good)}.key.again{background:var(--again)}.key.bad{background:var(--bad)}
.axis,.arrow{stroke:var(--line)}.arrow{stroke:var(--quiet)}
marker path{fill:var(--quiet)}
.area{fill:var(--blue);opacity:.25}.line{fill:none;stroke:var(--blue);stroke-width:1.5}
.box{fill:var(--panel);stroke:var(--line)}.box.passes{stroke:var(--good)}.box.fails{stroke:var(--bad);stroke-width:2}
`;
