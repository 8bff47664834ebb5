"""Two people chat in Chromium while the server's binary is replaced six times.

Usage: browser.py URL SCREENSHOT REQUESTS. Whenever the server is to be replaced,
writes a line to REQUESTS. Ends with 0 where neither page has noticed more than
other pids, and no message was lost or doubled.
"""

import sys
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

HANDOFFS = 5  # while they talk, and one more
PATIENCE = 60  # seconds, for anything

# By the form, as a person would; a message every 30 ms.
TALK = """
window.talked = 0;
window.talking = setInterval(() => {
  document.getElementById('text').value = `message ${++talked} of ${arguments[0]}`;
  document.getElementById('say').requestSubmit();
}, 30);
"""
STOP = "clearInterval(window.talking); return window.talked;"

# The number and text of each message that is shown.
SHOWN = """
return [...document.querySelectorAll('#messages li[data-seq]')].map(
    (item) => [Number(item.dataset.seq), item.textContent]);
"""


class Tab:
    def __init__(self, browser, name, url):
        self.browser = browser
        self.name = name
        browser.switch_to.new_window("window")
        self.handle = browser.current_window_handle
        browser.get(url)
        self.until("it is connected", lambda: self.text("generation").isdigit())

    def until(self, what, done):
        WebDriverWait(self.browser, PATIENCE, poll_frequency=0.02).until(
            lambda _: done(), f"{self.name}: never came: {what}")

    def show(self):
        self.browser.switch_to.window(self.handle)
        return self

    def text(self, element_id):
        return self.browser.find_element(By.ID, element_id).text

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def says(self, text):
        self.show().press(text, Keys.ENTER)

    def press(self, *keys):
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)

    def joins_by_keyboard(self):
        self.press(Keys.TAB, Keys.TAB, self.name, Keys.ENTER)
        self.until("it is in the room", lambda: self.text("room-heading") == "Room lobby")
        # Who joined can type at once.
        focused = self.browser.switch_to.active_element
        check(focused.accessible_name == "Message", focused.accessible_name)


def check(condition, found):
    if not condition:
        raise AssertionError(f"found: {found}")


def check_roles(tab):
    """What a screen reader says of the parts that change."""
    for element_id, role, name in [
        ("messages", "log", "Messages"),
        ("state", "status", None),
        ("trouble", "alert", None),
        ("text", "textbox", "Message"),
        ("send", "button", "Send"),
    ]:
        element = tab.browser.find_element(By.ID, element_id)
        if element_id != "trouble":  # hidden while there is none
            check(element.aria_role == role, (element_id, element.aria_role))
        if name is not None:
            check(element.accessible_name == name, (element_id, element.accessible_name))


def hand_over(tabs, number, requests):
    print("next", file=requests, flush=True)
    for tab in tabs:
        tab.show().until(f"handoff {number}", lambda: tab.text("handoffs") == str(number))


def chat(browser, url, screenshot, requests):
    tabs = [Tab(browser, "ada", url), Tab(browser, "bob", url)]
    for tab in tabs:
        tab.show().joins_by_keyboard()
        tab.says("hello")
        tab.until("its own message", lambda: "hello" in tab.text("messages"))
    check_roles(tabs[0].show())
    connections = [tab.show().run("return server.id") for tab in tabs]

    for tab in tabs:
        tab.show().run(TALK, tab.name)
    for handoff in range(1, HANDOFFS + 1):
        hand_over(tabs, handoff, requests)
    said = {tab.name: tab.show().run(STOP) for tab in tabs}
    total = 2 + sum(said.values())
    for tab in tabs:
        tab.show().until("the last of the talk", lambda: len(tab.run(SHOWN)) >= total)
    tabs[0].says("Has anybody noticed anything?")
    hand_over(tabs, HANDOFFS + 1, requests)
    tabs[1].says("No, what?")

    wanted = list(range(1, total + 2 + 1))
    for tab in tabs:
        tab.show().until("the last message", lambda: len(tab.run(SHOWN)) >= len(wanted))
        shown = tab.run(SHOWN)
        # bob came when ada had said hello, which he was shown.
        check([seq for seq, _ in shown] == wanted, [seq for seq, _ in shown])
        for name, count in said.items():
            for number in range(1, count + 1):
                text = f"{name}: message {number} of {name} "
                check(sum(line.startswith(text) for _, line in shown) == 1, text)
        check(tab.text("state") == "open", tab.text("state"))
        check(tab.text("trouble") == "", tab.text("trouble"))
        print(f"{tab.name}: {len(shown)} messages, longest pause {tab.text('pause')}")
    check([tab.show().run("return server.id") for tab in tabs] == connections, connections)

    tabs[1].show()
    browser.set_window_size(1100, 800)
    browser.save_screenshot(screenshot)


def main():
    url, screenshot, requests = sys.argv[1:]
    with open(requests, "w", encoding="utf-8") as lines, tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for argument in [
            "headless=new",
            "no-sandbox",  # which root needs
            "disable-dev-shm-usage",
            "disable-gpu",
            "disable-background-timer-throttling",
            "disable-backgrounding-occluded-windows",
            "disable-renderer-backgrounding",
            f"user-data-dir={profile}",
        ]:
            options.add_argument("--" + argument)
        browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        try:
            chat(browser, url, screenshot, lines)
        finally:
            browser.quit()


main()
