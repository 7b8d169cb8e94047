"""Language models: the choice of one, the edge to LangChain's, and the stand-in for when there is none."""
