// Chromium through CDP and Firefox through WebDriver BiDi, behind one interface.
import puppeteer from 'puppeteer-core';

export const BROWSERS = {
  chromium: {
    browser: 'chrome',
    executablePath: '/usr/bin/chromium',
    // Nothing but the call may use the network; the page must run at full speed unseen.
    args: [
      '--no-sandbox',
      '--headless=new',
      '--disable-gpu',
      '--no-first-run',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows',
      '--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter',
    ],
  },
  firefox: {
    browser: 'firefox',
    executablePath: '/usr/bin/firefox-esr',
    extraPrefsFirefox: {
      // The cluster's relays have loopback addresses, which Firefox's ICE leaves out unless told.
      'media.peerconnection.ice.loopback': true,
      'media.peerconnection.ice.obfuscate_host_addresses': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'network.trr.mode': 5,
      'app.update.enabled': false,
      'browser.safebrowsing.update.enabled': false,
    },
  },
};

/** Whether a second ICE restart is of no use: Firefox then needs a new connection. */
export const needsNewConnection = (name) => name === 'firefox';

export async function launch(name, home) {
  return puppeteer.launch({
    ...BROWSERS[name],
    headless: true,
    timeout: 60_000,
    protocolTimeout: 90_000,
    handleSIGINT: false,
    env: { ...process.env, HOME: home, XDG_RUNTIME_DIR: home, MOZ_HEADLESS: '1' },
  });
}
