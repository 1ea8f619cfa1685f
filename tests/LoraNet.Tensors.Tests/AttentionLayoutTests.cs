namespace LoraNet.Tensors.Tests;

public sealed class AttentionLayoutTests
{
    [Fact]
    public void QueriesOfAKeyAreThoseThatSeeIt()
    {
        AttentionLayout layout = AttentionLayout.Packed([3, 1, 5], causal: true, window: 2);
        for (int j = 0; j < layout.Keys; j++)
            for (int i = 0; i < layout.Queries; i++)
                Assert.Equal(layout.KeyStart[i] <= j && j < layout.KeyEnd[i], layout.QueryStart[j] <= i && i < layout.QueryEnd[j]);
    }

    /// <summary>Threads of a backward ask for the ranges at the same moment; each must see whole arrays.</summary>
    [Fact]
    public void ThreadsThatAskTogetherSeeWholeRanges()
    {
        using Barrier together = new(2);
        Exception? failure = null;
        AttentionLayout[] layouts = [.. Enumerable.Range(0, 3000).Select(_ => AttentionLayout.Packed([40, 7], causal: true))];
        Thread[] threads = [new(Ask), new(Ask)];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        Assert.Null(failure);

        void Ask()
        {
            foreach (AttentionLayout layout in layouts)
            {
                together.SignalAndWait();
                try
                {
                    if (layout.QueryStart.Length != 47 || layout.QueryEnd[46] != 47) throw new InvalidOperationException("The ranges are not whole.");
                }
                catch (Exception e) when (e is NullReferenceException or InvalidOperationException or IndexOutOfRangeException)
                {
                    failure = e;
                }
            }
        }
    }
}
