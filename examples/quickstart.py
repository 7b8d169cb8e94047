"""An agent that remembers, in ten lines. Run it twice: the second time it knows from the start."""

from agentmem import Agent, Memory

with Memory("quickstart.db") as memory:
    print(Agent(memory, namespace=("mara",)).ask("What is my niece allergic to?").text)

    talk = Agent(memory, namespace=("mara",))
    talk.ask("My niece Elin is allergic to peanuts.")

with Memory("quickstart.db") as memory:  # as after a restart
    answer = Agent(memory, namespace=("mara",)).ask("What is my niece allergic to?")
    print(answer.text)
    print("because of:", *(item.why for item in answer.recollection.items[:1]))
